// README.md's first decision, as it is compiled: `node dist/test/first_decision.js` beside a running router.

import { Client } from "../src/index.js";

const client = new Client("localhost:50051", { fallback: { search: "gpt-oss-120b", "*": "gpt-5" } });
const episode = client.episode("ticket-4711", { taskType: "support" });

const decision = await episode.decide({ context: { toolName: "grep", promptTokens: 6200 } });
console.log(decision.model, decision.reason); // call that model, then tell what became of it:
episode.report({ error: "SEVERITY_NONE", usage: { outputTokens: 310 } });

await episode.succeed();
await client.close();
