// The library: uploads and the files of jobs are listed, searched, used again and deleted.

import { getStorage, listArtifacts, upload } from "../api.js";
import { byId, bytes, hide, setText } from "../dom.js";
import { forgetUploaded, forgetUploads } from "../form/uploads.js";
import { counted } from "../job.js";
import { LibraryItem } from "./item.js";

const PAGE = 24;

export class Library {
  // `model` is the chosen one, and `use` puts a file into the form of a new reel.
  constructor({ model, use, failed }) {
    Object.assign(this, { model, use, failed, items: [] });
    byId("library-search").addEventListener("submit", (event) => {
      event.preventDefault();
      this.begin().catch(failed);
    });
    for (const id of ["library-kind", "library-media"]) byId(id).addEventListener("change", () => this.begin().catch(failed));
    byId("library-more").addEventListener("click", () => this.more().catch(failed));
    byId("library-add").addEventListener("click", () => byId("library-file").click());
    byId("library-file").addEventListener("change", () => this.add([...byId("library-file").files]));
    takeDrops(byId("library-page"), (files) => this.add(files));
  }

  async open() {
    byId("library-title").focus();
    await this.begin();
  }

  close() {
    this.query = null;
    this.items = [];
    byId("library-files").replaceChildren();
  }

  async begin() {
    const chosen = { kind: byId("library-kind").value, media: byId("library-media").value, q: byId("library-words").value.trim() };
    this.query = Object.fromEntries(Object.entries(chosen).filter(([, value]) => value));
    const { query } = this;
    const [page] = await Promise.all([listArtifacts({ ...query, limit: PAGE }), this.showStorage()]);
    if (query !== this.query) return;
    this.close();
    this.query = query;
    this.append(page);
    const more = page.has_more ? " and more" : "";
    setText(byId("library-note"), page.data.length ? `${counted(page.data.length, "file")}${more}` : "No files were found.");
  }

  async more() {
    const { query, cursor } = this;
    const page = await listArtifacts({ ...query, limit: PAGE, cursor });
    if (query !== this.query) return;
    const [first] = this.append(page);
    first?.focus();
    setText(byId("library-note"), `${counted(this.items.length, "file")}${page.has_more ? " and more" : ""}`);
  }

  append({ data, has_more: hasMore, next_cursor: cursor }) {
    this.cursor = cursor;
    const added = data.map((artifact) => this.item(artifact));
    this.items.push(...added);
    byId("library-files").append(...added.map(({ element }) => element));
    hide(byId("library-more"), !hasMore, () => added[0]?.title);
    return added;
  }

  item(artifact) {
    return new LibraryItem(artifact, {
      model: this.model(),
      use: this.use,
      deleted: (item) => {
        const next = this.items[this.items.indexOf(item) + 1] ?? this.items.at(-2);
        this.items = this.items.filter((each) => each !== item);
        hide(item.element, true, () => next?.title ?? byId("library-title"));
        item.element.remove();
        forgetUploads();
        forgetUploaded();
        this.showStorage().catch(this.failed);
      },
    });
  }

  async add(files) {
    for (const file of files) {
      setText(byId("library-note"), `${file.name} is being uploaded.`);
      try {
        await upload(file);
      } catch (problem) {
        setText(byId("library-note"), `${file.name}: ${problem.message}`);
        return;
      }
    }
    byId("library-file").value = "";
    forgetUploads();
    byId("library-kind").value = "upload";
    await this.begin().catch(this.failed);
  }

  async showStorage() {
    const { size_bytes: used, max_bytes: most, kinds } = await getStorage();
    const files = kinds.reduce((total, kind) => total + kind.files, 0);
    setText(byId("library-storage"), `${bytes(used)}${most ? ` of ${bytes(most)}` : ""} in ${counted(files, "file")}`);
    const meter = byId("library-meter");
    meter.hidden = !most;
    if (most) Object.assign(meter, { max: most, value: used });
  }
}

function takeDrops(element, drop) {
  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  element.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  element.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    drop([...event.dataTransfer.files]);
  });
}
