// Follows a job with the npm package, which reconnects by itself, at the next of several replicas each time.
import { EventSource } from "eventsource";

const [path, ...replicas] = process.argv.slice(2);
const durable = [
  "job.queued", "job.started", "clip.started", "clip.succeeded", "clip.retrying", "clip.failed",
  "job.assembling", "job.succeeded", "job.failed", "job.canceled", "job.expired",
];
const seen = { ids: [], names: [], opened: 0, progress: 0, went_back: 0, last_status: 0 };

const source = new EventSource(replicas[0] + path, {
  fetch: async (url, options) => {
    const replica = replicas.shift();
    replicas.push(replica);
    const answer = await fetch(replica + path, options);
    seen.last_status = answer.status;
    return answer;
  },
});
source.addEventListener("open", () => { seen.opened += 1; });
for (const name of durable) {
  source.addEventListener(name, (event) => {
    seen.ids.push(Number(event.lastEventId));
    seen.names.push(name);
  });
}
source.addEventListener("clip.progress", (event) => {
  const { job_progress } = JSON.parse(event.data);
  if (job_progress < seen.progress) seen.went_back += 1;
  seen.progress = job_progress;
});
// It is left to the server to say that there is nothing more to come.
source.addEventListener("error", () => {
  if (source.readyState === EventSource.CLOSED) console.log(JSON.stringify(seen));
});
