"use client";

import { Phoenix } from "@phoenix-video/client";
import { useReel } from "@phoenix-video/client/react";
import { useState } from "react";

// Outside of the component, so that it stays the same between renders.
const phoenix = new Phoenix({ baseUrl: "/api/phoenix" });

export default function Page() {
  const [prompt, setPrompt] = useState("a red balloon over a harbour at dawn");
  const { submit, cancel, isRunning, progress, job, error } = useReel(phoenix);
  const make = (event) => {
    event.preventDefault();
    submit(prompt);
  };
  return (
    <form onSubmit={make}>
      <input value={prompt} onChange={(event) => setPrompt(event.target.value)} />
      <button disabled={isRunning}>Make it</button>
      <button type="button" disabled={!isRunning} onClick={cancel}>
        Cancel
      </button>
      <progress value={progress?.progress ?? 0} />
      <span>{error ? error.message : progress?.state}</span>
      {job?.output && <video controls src={job.output.signed_url} />}
    </form>
  );
}
