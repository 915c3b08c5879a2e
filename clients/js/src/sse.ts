// Server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html), from text in pieces of any length.

export interface Message {
  data: string;
  /** Undefined for a message without an id of its own. */
  id: string | undefined;
}

export class SseParser {
  /** The reconnection time that the server has asked for. */
  retryMs: number | undefined;
  #rest = "";
  #data: string | undefined;
  #id: string | undefined;
  #skipsNewline = false;

  /** The messages that `chunk` completes. */
  feed(chunk: string): Message[] {
    if (this.#skipsNewline && chunk) {
      this.#skipsNewline = false;
      if (chunk.startsWith("\n")) chunk = chunk.slice(1);
    }
    const text = this.#rest + chunk;
    const messages: Message[] = [];
    let start = 0;
    let lf = text.indexOf("\n");
    let cr = text.indexOf("\r");
    while (lf >= 0 || cr >= 0) {
      const end = cr < 0 || (lf >= 0 && lf < cr) ? lf : cr;
      this.#read(text.slice(start, end), messages);
      start = end + 1;
      if (end === cr) {
        // A line may end with \r\n, and the two may arrive apart.
        if (start === text.length) this.#skipsNewline = true;
        else if (lf === start) start += 1;
        cr = text.indexOf("\r", start);
      }
      if (lf >= 0 && lf < start) lf = text.indexOf("\n", start);
    }
    this.#rest = text.slice(start);
    return messages;
  }

  #read(line: string, messages: Message[]): void {
    if (line === "") {
      if (this.#data !== undefined) messages.push({ data: this.#data, id: this.#id });
      this.#data = this.#id = undefined;
      return;
    }
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") this.#data = this.#data === undefined ? value : `${this.#data}\n${value}`;
    else if (name === "id") this.#id = value;
    else if (name === "retry" && /^\d+$/.test(value)) this.retryMs = Number(value);
  }
}
