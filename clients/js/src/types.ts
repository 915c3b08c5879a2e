// Names for the types that are made from the OpenAPI document.
import type { components } from "./openapi.js";

type Schemas = components["schemas"];

export type Artifact = Schemas["Artifact"];
export type Clip = Schemas["Clip"];
export type ClipRequest = Schemas["ClipRequest"];
export type EditRequest = Schemas["EditRequest"];
/** One event of a stream; `type` says which. A newer server may send more types: give a `switch` a `default`. */
export type JobEvent = Schemas["JobEvent"];
export type JobEventType = JobEvent["type"];
/** The event of one type: `EventOf<"clip.progress">`. */
export type EventOf<T extends JobEventType> = Extract<JobEvent, { type: T }>;
export type Job = Schemas["Job"];
export type JobState = Schemas["JobState"];
export type LipsyncRequest = Schemas["LipsyncRequest"];
export type MediaUrls = Schemas["MediaUrls"];
export type Model = Schemas["Model"];
export type Problem = Schemas["Problem"];
export type ProblemFault = Schemas["ProblemFault"];
export type ReelRequest = Schemas["ReelRequest"];
export type StitchRequest = Schemas["StitchRequest"];
export type WaitingReason = Schemas["WaitingReason"];
export type WebhookPayload = Schemas["WebhookPayload"];
