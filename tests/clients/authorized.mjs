// The official TypeScript client against one tenant's endpoint, knowing nothing but its URL: it has to find the
// authorization server, become known to it and ask a person. The other end of its stdio plays the host's program.
// Arguments: the package ("client" is v2, "sdk" is v1), the protocol revision, where the person's browser comes back to,
// and optionally the URL of a client-id metadata document (without one it registers itself).
// It reads lines of JSON: {"list": true}, {"call": name, "arguments": {...}} or {"callback": url}. It answers each of the
// first two with {"answer": ..., "scope": ...} or {"refused": ...}; before that it may say {"visit": url}, which wants a
// "callback". It ends when its input does.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../conformance/package.json", import.meta.url));
const [generation, revision, redirectUri, metadataUrl] = process.argv.slice(2);
const MODERN = "2026-07-28";
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

const say = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

async function hear() {
  const { value, done } = await lines.next();
  return done ? null : JSON.parse(value);
}

/** What a program remembers of one server: its own registration, the tokens, and the flow under way. */
class Memory {
  clientMetadataUrl = metadataUrl;
  redirectUrl = redirectUri;
  clientMetadata = {
    client_name: "TypeScript test host",
    redirect_uris: [redirectUri],
    grant_types: ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  };
  #kept = {};

  state = () => (this.#kept.state = crypto.randomUUID());
  clientInformation = () => this.#kept.client;
  saveClientInformation = (client) => void (this.#kept.client = client);
  tokens = () => this.#kept.tokens;
  saveTokens = (tokens) => void (this.#kept.tokens = tokens);
  codeVerifier = () => this.#kept.verifier;
  saveCodeVerifier = (verifier) => void (this.#kept.verifier = verifier);
  discoveryState = () => this.#kept.discovery;
  saveDiscoveryState = (discovery) => void (this.#kept.discovery = discovery);
  /** The SDK says what the server would have no more, by the names used here. */
  invalidateCredentials = (what) => void (what === "all" ? (this.#kept = {}) : delete this.#kept[what]);
  redirectToAuthorization = (url) => say({ visit: url.href });

  async cameBack() {
    const answer = new URL((await hear()).callback);
    if (answer.searchParams.get("state") !== this.#kept.state) throw new Error("The answer is to another request");
    return answer.searchParams;
  }
}

function v1() {
  const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { UnauthorizedError } = require("@modelcontextprotocol/sdk/client/auth.js");
  const make = () => new Client({ name: "mcphub-test", version: "1.0.0" });
  const call = (client, name, args) => client.callTool({ name, arguments: args });
  const finish = (transport, answer) => transport.finishAuth(answer.get("code"));
  return { make, call, finish, Transport: StreamableHTTPClientTransport, UnauthorizedError };
}

function v2() {
  const { Client, StreamableHTTPClientTransport, UnauthorizedError } = require("@modelcontextprotocol/client");
  const options =
    revision === MODERN
      ? { versionNegotiation: { mode: "auto" } }
      : { versionNegotiation: { mode: "legacy" }, supportedProtocolVersions: [revision] };
  const make = () => new Client({ name: "mcphub-test", version: "1.0.0" }, options);
  const call = (client, name, args) => client.callTool({ name, arguments: args });
  const finish = (transport, answer) => transport.finishAuth(answer); // checks `iss`, which v1 cannot
  return { make, call, finish, Transport: StreamableHTTPClientTransport, UnauthorizedError };
}

const { make, call, finish, Transport, UnauthorizedError } = { sdk: v1, client: v2 }[generation]();
const memory = new Memory();

/** Do it; when that takes a person's yes, get it and do it once more. */
async function authorized(transport, step) {
  try {
    return await step();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await finish(transport(), await memory.cameBack());
    return await step();
  }
}

async function connected() {
  let transport;
  const client = await authorized(
    () => transport,
    async () => {
      const fresh = make();
      transport = new Transport(new URL(process.env.MCPHUB_URL), { authProvider: memory });
      await fresh.connect(transport);
      return fresh;
    },
  );
  return { client, transport };
}

async function answered({ client, transport }, asked) {
  const step = () => (asked.list ? client.listTools() : call(client, asked.call, asked.arguments ?? {}));
  try {
    return { answer: await authorized(() => transport, step), scope: memory.tokens()?.scope };
  } catch (error) {
    return { refused: { code: error.code, message: error.message } };
  }
}

// Connecting may ask for the person too, so it waits until somebody is there who asks for something.
let connection;
for (let asked = await hear(); asked !== null; asked = await hear()) {
  connection ??= await connected();
  say(await answered(connection, asked));
}
await connection?.client.close();
