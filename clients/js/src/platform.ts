/** The cryptography of the platform. Undefined in a page without HTTPS. */
export async function findSubtle(): Promise<SubtleCrypto | undefined> {
  // Node 18 has it only in a module, for which a bundler for browsers must not look.
  const module = "node:crypto";
  const crypto: Crypto = globalThis.crypto ?? (await import(/* @vite-ignore */ /* webpackIgnore: true */ module)).webcrypto;
  return crypto.subtle;
}
