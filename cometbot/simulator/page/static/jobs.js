// Jobs: what the bots will do at a time, each of which can run now, and what they send to many users.

import { definitionList, h, fill } from "./dom.js";
import { runJob } from "./api.js";
import { dayName, timeOf } from "./time.js";
import { showToast } from "./toasts.js";

/** A list of the jobs that are still to come, with a button each, and of the newest broadcasts. */
export class Jobs {
  constructor(store) {
    this.store = store;
    this.list = h("ul.letters", { "aria-label": "Jobs, the next first" });
    this.element = h(
      "div.jobs",
      h("p.intro.muted", "What a bot does at a time waits here: its schedules, and what handlers have planned for later. Broadcasts show how far they are."),
      this.list,
    );
    store.on("jobs", (jobs) => this.#show(jobs));
    this.#show([]);
  }

  get badge() {
    return { count: this.store.jobs.filter((job) => !isBroadcast(job) || job.waiting > 0).length };
  }

  #show(jobs) {
    const items = jobs.map((job) => (isBroadcast(job) ? this.#broadcast(job) : this.#item(job)));
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

  #broadcast(job) {
    const facts = [
      ["Status", job.status],
      ["Bot", job.bot],
      ["Pace", job.pace],
      ["Sent", `${job.sent} of ${job.recipients}`],
      ...OUTCOMES.map(([label, name]) => job[name] > 0 && [label, String(job[name])]),
      ...Object.entries(job.reasons).map(([reason, count]) => ["Reason", `${count}: ${reason}`]),
    ];
    return h(
      "li.letter.vstack",
      h("header.muted", h("strong.waits", job.name.startsWith("#") ? job.id : job.name), h("span", "Broadcast")),
      job.text && h("p.question", job.text),
      definitionList("dl", facts),
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

const OUTCOMES = [
  ["Waiting", "waiting"],
  ["Being sent", "sending"],
  ["Refused", "refused"],
  ["Dropped", "dropped"],
  ["Opted out", "opted_out"],
];

const isBroadcast = (job) => job.recipients !== undefined;

const moment = (seconds) => `${timeOf(seconds)}, ${dayName(seconds)}`;
