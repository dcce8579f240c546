// The official TypeScript client against one tenant's endpoint: connects, lists, calls, and prints what it saw as JSON.
// Arguments: the package ("client" is v2, "sdk" is v1) and the protocol revision to speak. URL and key come from the
// environment, so that the key shows in no process list.
import { createRequire } from "node:module";

const require = createRequire(new URL("../conformance/package.json", import.meta.url));
const [generation, revision] = process.argv.slice(2);
const MODERN = "2026-07-28";

function v1() {
  const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const client = new Client({ name: "mcphub-test", version: "1.0.0" });
  const call = (name, args, options) => client.callTool({ name, arguments: args }, undefined, options);
  return { client, call, Transport: StreamableHTTPClientTransport, spoken: (transport) => transport.protocolVersion };
}

function v2() {
  const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
  // Legacy revisions are offered one at a time, or the client would settle on the newest; the modern one is probed for.
  const options =
    revision === MODERN
      ? { versionNegotiation: { mode: "auto" } }
      : { versionNegotiation: { mode: "legacy" }, supportedProtocolVersions: [revision] };
  const client = new Client({ name: "mcphub-test", version: "1.0.0" }, options);
  const call = (name, args, options) => client.callTool({ name, arguments: args }, options);
  return { client, call, Transport: StreamableHTTPClientTransport, spoken: () => client.getNegotiatedProtocolVersion() };
}

async function refusal(promise) {
  try {
    await promise;
    return null;
  } catch (error) {
    return { code: error.code, message: error.message };
  }
}

const { client, call, Transport, spoken } = { sdk: v1, client: v2 }[generation]();
const headers = { Authorization: `Bearer ${process.env.MCPHUB_API_KEY}` };
const transport = new Transport(new URL(process.env.MCPHUB_URL), { requestInit: { headers } });
await client.connect(transport);

const { tools } = await client.listTools();
const progress = [];
const seen = {
  revision: spoken(transport),
  server: client.getServerVersion(),
  tools: tools.map((tool) => ({ name: tool.name, description: tool.description, inputSchema: tool.inputSchema })),
  found: await call("search_tickets", { query: "invoice" }),
  counted: await call("count_slowly", { steps: 3, seconds: 0.15 }, { onprogress: (event) => progress.push(event) }),
  progress,
  mistaken: await call("search_tickets", { query: 7 }),
  unknown: await refusal(call("no_such_tool", {})),
};
await client.close();
console.log(JSON.stringify(seen));
