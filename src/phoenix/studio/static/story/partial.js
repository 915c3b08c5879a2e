// What can be read already of an answer that is still being written: JSON without its end. Pure.

const PROMPT = /"prompt"\s*:\s*"((?:[^"\\]|\\.)*)/g;

// The prompts so far; the last one may lack its end.
export const promptsIn = (text) => [...text.matchAll(PROMPT)].map(([, written]) => decoded(written));

function decoded(written) {
  try {
    return JSON.parse(`"${written}"`);
  } catch {
    // It ends within an escape.
    return written.replace(/\\u?[0-9a-fA-F]*$/, "");
  }
}
