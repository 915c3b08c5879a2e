// Reels to begin with. They name no model, so that each model can have them.

export const READY = [
  {
    name: "Three shots of a product",
    values: { title: "Product", aspect: "1:1", duration: 3, crossfade: 0.5, negative: "text, watermark" },
    clips: [
      { prompt: "a watch on dark stone, macro shot, slow push in, soft studio light" },
      { prompt: "the watch turns slowly, the light runs along its glass" },
      { prompt: "the watch on the wrist of a cyclist at dusk, shallow depth of field", caption: "Made to move" },
    ],
  },
  {
    name: "A day in the city, for phones",
    values: { title: "A day in the city", aspect: "9:16", duration: 3, crossfade: "", negative: "" },
    clips: [
      { prompt: "empty street at dawn, fog over the tram rails, wide shot", caption: "6:00" },
      { prompt: "market stalls open, crates of oranges, handheld camera", caption: "9:00" },
      { prompt: "office windows in the noon sun, seen from a drone", caption: "12:00" },
      { prompt: "neon signs in the rain, people with umbrellas, slow motion", caption: "21:00" },
    ],
  },
  {
    name: "A story with a beginning and an end",
    values: { title: "The balloon", aspect: "16:9", duration: 4, crossfade: 0.5, negative: "text" },
    clips: [
      { prompt: "a red balloon leaves the hand of a child in a harbor, dawn" },
      { prompt: "the balloon drifts over the roofs of the old town" },
      { prompt: "gulls circle the balloon above the open sea" },
      { prompt: "the balloon comes down on a small island, a child picks it up" },
    ],
  },
  {
    name: "One long take in four clips",
    values: { title: "Through the forest", aspect: "21:9", duration: 4, crossfade: "", negative: "" },
    clips: [
      { prompt: "the camera glides into a misty forest, low above the moss" },
      ...["it passes between tall firs, light falls through them", "it follows a brook to a clearing", "it rises over the trees into the sun"].map((prompt) => ({
        prompt,
        conditions: [{ role: "first_frame", source: { previous_clip: true } }],
      })),
    ],
  },
];
