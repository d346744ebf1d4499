// Jobs: what the bots will do at a time, each of which can run now.

import { definitionList, h, fill } from "./dom.js";
import { runJob } from "./api.js";
import { dayName, timeOf } from "./time.js";
import { showToast } from "./toasts.js";

/** A list of the jobs that are still to come, with a button each. */
export class Jobs {
  constructor(store) {
    this.store = store;
    this.list = h("ul.letters", { "aria-label": "Jobs, the next first" });
    this.element = h(
      "div.jobs",
      h("p.intro.muted", "What a bot does at a time waits here: its schedules, and what handlers have planned for later."),
      this.list,
    );
    store.on("jobs", (jobs) => this.#show(jobs));
    this.#show([]);
  }

  get badge() {
    return { count: this.store.jobs.length };
  }

  #show(jobs) {
    const items = jobs.map((job) => this.#item(job));
    fill(this.list, items.length ? items : h("li.hint.muted", "No job is planned."));
  }

  #item(job) {
    const facts = [
      ["Next", moment(job.due_at)],
      job.last_at && ["Last", moment(job.last_at)],
      ["Bot", job.bot],
      job.job && ["Function", job.job],
      Object.keys(job.arguments).length > 0 && ["Arguments", JSON.stringify(job.arguments)],
      job.conversation && ["Conversation", job.conversation],
    ];
    return h(
      "li.letter.vstack",
      h("header.muted", h("strong.waits", job.name.startsWith("#") ? job.id : job.name), h("span", job.schedule || "Once")),
      job.text && h("p.question", job.text),
      definitionList("dl", facts),
      h("div.row", this.#runButton(job.id)),
    );
  }

  #runButton(id) {
    const onclick = async (event) => {
      const button = event.currentTarget;
      button.disabled = true;
      try {
        await runJob(id);
        showToast(`${id} runs now.`);
      } catch (error) {
        showToast(error.message, "bad");
      }
      button.disabled = false;
    };
    return h("button.button", { "aria-label": `Run ${id} now`, onclick }, "Run now");
  }
}

const moment = (seconds) => `${timeOf(seconds)}, ${dayName(seconds)}`;
