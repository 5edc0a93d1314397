// Say what display.js makes of texts: a JSON list [text, after] in, a list of what is visible out.

import { readFileSync } from "node:fs";
import { visible } from "../../src/unrolled/pages/display.js";

const texts = JSON.parse(readFileSync(0, "utf8"));
process.stdout.write(JSON.stringify(texts.map(([text, after]) => visible(text, after))));
