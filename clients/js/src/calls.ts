// The types of `phoenix.call`: every operation of the OpenAPI document, by its method and path. No code comes of it.
import type { paths } from "./openapi.js";

export type Method = "get" | "post" | "patch" | "delete";

/** The paths that have the method. */
export type PathOf<M extends Method> = {
  [P in keyof paths]: paths[P] extends Record<M, { responses: unknown }> ? P : never;
}[keyof paths];

type Operation<M extends Method, P extends keyof paths> = paths[P] extends Record<M, infer O> ? O : never;
type Json<R> = R extends { content: { "application/json": infer J } } ? J : undefined;

/** What the operation answers with; undefined for an answer without a body. */
export type Answer<M extends Method, P extends keyof paths> =
  Operation<M, P> extends { responses: infer R } ? Json<R[keyof R & (200 | 201 | 202 | 204)]> : never;

type PathOption<O> = O extends { parameters: { path: infer V } } ? { path: V } : { path?: undefined };
type QueryOption<O> = O extends { parameters: { query?: infer V } } ? { query?: V } : { query?: undefined };
type BodyOption<O> = O extends { requestBody: { content: { "application/json": infer V } } }
  ? { body: V }
  : O extends { requestBody?: { content: { "application/json": infer V } } }
    ? { body?: V }
    : { body?: undefined };

export interface SendOptions {
  signal?: AbortSignal;
  headers?: Record<string, string>;
  /** For a request that makes a job or a storyboard: yours, or a random one. It is the same in every try. */
  idempotencyKey?: string;
}

export type CallOptions<M extends Method, P extends keyof paths> = SendOptions &
  PathOption<Operation<M, P>> &
  QueryOption<Operation<M, P>> &
  BodyOption<Operation<M, P>>;

/** The options may be left out where none is needed. */
export type CallArguments<M extends Method, P extends keyof paths> =
  Operation<M, P> extends { parameters: { path: object } } | { requestBody: object }
    ? [options: CallOptions<M, P>]
    : [options?: CallOptions<M, P>];
