// The official TypeScript client, told of its tools by the stream that it opens by itself: says when that is open, then
// what it is told, and at the end of its input how often it complained. Arguments and environment as of client.mjs.
import { createRequire } from "node:module";

const require = createRequire(new URL("../conformance/package.json", import.meta.url));
const [generation, revision] = process.argv.slice(2);

function v1() {
  const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { ToolListChangedNotificationSchema } = require("@modelcontextprotocol/sdk/types.js");
  return { client: new Client({ name: "mcphub-test", version: "1.0.0" }), Transport: StreamableHTTPClientTransport, changed: ToolListChangedNotificationSchema };
}

function v2() {
  const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
  const options = { versionNegotiation: { mode: "legacy" }, supportedProtocolVersions: [revision] };
  return { client: new Client({ name: "mcphub-test", version: "1.0.0" }, options), Transport: StreamableHTTPClientTransport, changed: "notifications/tools/list_changed" };
}

let complaints = 0;
const { client, Transport, changed } = { sdk: v1, client: v2 }[generation]();
const headers = { Authorization: `Bearer ${process.env.MCPHUB_API_KEY}` };
const opened = Promise.withResolvers();
const watching = async (url, init) => {
  const response = await fetch(url, init);
  if (init?.method === "GET" && response.status === 200) opened.resolve();
  return response;
};
const transport = new Transport(new URL(process.env.MCPHUB_URL), { requestInit: { headers }, fetch: watching });
client.onerror = (error) => {
  complaints += 1;
  console.error(error);
};
client.setNotificationHandler(changed, async () => {
  const { tools } = await client.listTools();
  console.log("changed", tools.map((tool) => tool.name).join(" "));
});
await client.connect(transport);
await client.listTools();
await opened.promise;
console.log("listening");
process.stdin.resume();
await new Promise((resolve) => process.stdin.on("end", resolve));
await client.close();
console.log("complaints", complaints);
