// A small video of one clip, whose file is asked for once it comes into view: a reel may have hundreds.

import { h } from "../dom.js";

const whenSeen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    whenSeen.unobserve(target);
    target.src = target.dataset.src;
  }
}, { rootMargin: "200px" });

export function clipVideo(url, name) {
  const video = h("video", { controls: true, muted: true, loop: true, playsinline: true, preload: "metadata", "data-src": url });
  video.setAttribute("aria-label", name);
  whenSeen.observe(video);
  return video;
}
