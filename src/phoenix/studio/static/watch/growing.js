// Plays a playlist that grows, through hls.js. Chromium's own HLS ends after the first clip, so it is not asked.

const AGAIN = { maxNumRetry: Infinity, retryDelayMs: 1000, maxRetryDelayMs: 1000, shouldRetry: () => true };
// The playlist is answered with 409 until the segments of the first clip are made.
const PATIENT = { maxTimeToFirstByteMs: 10_000, maxLoadTimeMs: 20_000, timeoutRetry: AGAIN, errorRetry: AGAIN };
const OPTIONS = {
  // A worker would need scripts from blobs in the security policy. Segments are fragmented MP4: there is little to do.
  enableWorker: false,
  manifestLoadPolicy: { default: PATIENT },
};

// Returns what ends it. `failed` gets the text of an error that hls.js does not recover from.
export async function playGrowing(video, url, startAt, failed) {
  const { default: Hls } = await import("../vendor/hls.js/hls.light.min.js");
  if (!Hls.isSupported()) return playNatively(video, url);
  const player = new Hls({ ...OPTIONS, startPosition: startAt });
  let isRecovered = false;
  player.on(Hls.Events.ERROR, (_, { fatal, type, details }) => {
    if (!fatal) return;
    if (type === Hls.ErrorTypes.MEDIA_ERROR && !isRecovered) {
      isRecovered = true;
      player.recoverMediaError();
    } else {
      failed(`the reel cannot be played: ${details}`);
    }
  });
  player.loadSource(url);
  player.attachMedia(video);
  return () => player.destroy();
}

// Phones without media source extensions play HLS themselves.
function playNatively(video, url) {
  video.src = url;
  return () => video.removeAttribute("src");
}
