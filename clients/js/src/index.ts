export { Phoenix, type FollowOptions, type Reel } from "./client.js";
export type { Answer, CallOptions, SendOptions } from "./calls.js";
export { JobFailed, PhoenixError, PhoenixProblem, PhoenixUnreachable } from "./errors.js";
export type { components, operations, paths } from "./openapi.js";
export { advance, progressOf, type Progress } from "./progress.js";
export type { FailureKind, RetryPolicy } from "./retry.js";
export type { PhoenixOptions } from "./transport.js";
export type * from "./types.js";
export type { WatchOptions } from "./watch.js";
