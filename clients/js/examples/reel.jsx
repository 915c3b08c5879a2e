// The page of page/index.html as a component of React. A bundler makes JavaScript of it.
import { Phoenix } from "@phoenix-video/client";
import { useReel } from "@phoenix-video/client/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";

// Outside of the component, so that it stays the same between renders.
const phoenix = new Phoenix({ baseUrl: "/api/phoenix" });

function Reel() {
  const [prompt, setPrompt] = useState("a red balloon over a harbour at dawn");
  const { submit, cancel, isRunning, progress, job, error } = useReel(phoenix);
  const make = (event) => {
    event.preventDefault();
    submit(prompt);
  };
  return (
    <form onSubmit={make}>
      <input id="prompt" value={prompt} onChange={(event) => setPrompt(event.target.value)} />
      <button disabled={isRunning}>Make it</button>
      <button type="button" id="cancel" disabled={!isRunning} onClick={cancel}>
        Cancel
      </button>
      <progress id="bar" value={progress?.progress ?? 0} />
      <span id="state">{error ? error.message : progress?.state}</span>
      {job?.output && <video id="video" controls src={job.output.signed_url} />}
    </form>
  );
}

createRoot(document.getElementById("root")).render(<Reel />);
