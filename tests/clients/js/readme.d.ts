// What the examples of the README leave to the site that they are a part of.
declare const process: { env: Record<string, string | undefined> };
declare const phoenix: import("@phoenix-video/client").Phoenix;
declare const request: Request;
declare const secret: string;
declare function sessionOf(request: Request): Promise<string>;
declare function mayUse(session: string, jobId: string | null): boolean;
declare function remember(session: string, jobId: string): Promise<void>;
declare namespace JSX {
  interface IntrinsicElements {
    [name: string]: unknown;
  }
}
