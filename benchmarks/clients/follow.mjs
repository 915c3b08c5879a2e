// Follows a job some times, and prints the milliseconds of CPU for each time. Arguments: contender, URL, times.
const [contender, url, times] = process.argv.slice(2);

const followers = {
  async watch() {
    const { Phoenix } = await import("@phoenix-video/client");
    const phoenix = new Phoenix({ baseUrl: url });
    return async () => {
      let seen = 0;
      for await (const event of phoenix.watch("job_1")) seen += event.seq;
      return seen;
    };
  },
  async eventsource() {
    const { EventSource } = await import("eventsource");
    return () =>
      new Promise((resolve) => {
        let seen = 0;
        const source = new EventSource(`${url}/v1/jobs/job_1/events`);
        const add = (event) => (seen += JSON.parse(event.data).seq);
        source.addEventListener("clip.started", add);
        source.addEventListener("job.succeeded", (event) => {
          add(event);
          source.close();
          resolve(seen);
        });
      });
  },
};

const follow = await followers[contender]();
for (let warm = 0; warm < 20; warm += 1) await follow();
const before = process.cpuUsage();
let seen = 0;
for (let time = 0; time < Number(times); time += 1) seen += await follow();
const { user, system } = process.cpuUsage(before);
console.log(JSON.stringify({ cpu_ms: (user + system) / 1000 / times, seen: seen / times }));
process.exit(0);
