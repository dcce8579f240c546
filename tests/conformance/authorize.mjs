// Loaded with `node --import` before the conformance suite, which has no option for request headers.
// Adds the key to every request for the hub and leaves Host, Origin and all else as the suite sent it: a proxy
// in between would change the very port that the suite's Host and Origin checks are about.
import { subscribe } from "node:diagnostics_channel";

const hub = new URL(process.env.MCPHUB_URL);
const authorization = `Bearer ${process.env.MCPHUB_API_KEY}`;

// Published by fetch (Node's own undici) and by the undici package.
subscribe("undici:request:create", ({ request }) => {
  if (String(request.origin) === hub.origin) request.addHeader("authorization", authorization);
});

// Published by node:http, before the head is sent.
subscribe("http.client.request.created", ({ request }) => {
  if (request.getHeader("host") === hub.host) request.setHeader("authorization", authorization);
});
