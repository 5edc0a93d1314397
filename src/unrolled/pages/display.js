// Make any text safe to show: what a reader could not see becomes visible. The same rules as unrolled/text/display.py.
//
// Knows nothing about pages: whoever shows the text must still put it in as text, never as HTML.

const MARKS = 4; // combining marks that one base character may carry; living scripts need three
const BASE = /^[\p{L}\p{N}\p{P}\p{S}\p{Zs}]$/u;
const MARK = /^\p{M}$/u;
// default-ignorable code points whose category alone would let them pass, unseen
const INVISIBLE = /^[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\u180b-\u180f\u{e0100}-\u{e01ef}]$/u;

function role(character) {
  if (character >= " " && character <= "~") return "base";
  if (INVISIBLE.test(character)) return null;
  return BASE.test(character) ? "base" : MARK.test(character) ? "mark" : null;
}

function escapedCharacter(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCharCode(0x2400 + code);
  if (code === 0x7f) return "\u2421";
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** How many marks the last base of a text carries already, null when there is no such base. */
function trailingMarks(after) {
  let marks = 0;
  for (const character of [...after.slice(-2 * MARKS)].reverse().slice(0, MARKS)) {
    const kind = role(character);
    if (kind !== "mark") return kind === "base" || marks ? marks : null;
    marks++;
  }
  return marks || null;
}

/**
 * Return the text with everything shown that a reader could not see: controls as pictures, the rest as ⟨U+202E⟩.
 * Newline and tab stay. `after` is the end of the text that came before, when a text is shown piece by piece.
 */
export function visible(text, after = "") {
  let marks = after ? trailingMarks(after) : null;
  let shown = "";
  for (const character of text) {
    const kind = role(character);
    let form = "";
    if (kind === "base") [form, marks] = [character, 0];
    else if (kind !== "mark") [form, marks] = [character === "\n" || character === "\t" ? character : "", null];
    else if (marks === null) [form, marks] = ["\u25cc" + character, 1];
    else if (marks < MARKS) [form, marks] = [character, marks + 1];
    shown += form || escapedCharacter(character);
  }
  return shown;
}

/** `visible`, with newline and tab as control pictures, for names inside a sentence. */
export function visibleLine(text) {
  return visible(String(text ?? "")).replaceAll("\n", "\u240a").replaceAll("\t", "\u2409");
}

/** Signs of characters that cannot be seen. */
export const SIGNS = { " ": "␣", "\n": "↵", "\t": "⇥", "\u00a0": "⍽" };

/** One character as a reader would name it: spaces and line ends get a sign of their own. */
export const characterSign = (character) =>
  Object.hasOwn(SIGNS, character) ? SIGNS[character] : visibleLine(character);
