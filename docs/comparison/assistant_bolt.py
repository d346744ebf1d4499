"""The assistant in Bolt for Python: a loop around the model, and buttons that carry what is to be approved."""

import json
import os

from assistant_shop import INSTRUCTIONS, create_refund, find_order, stream_answer
from slack_bolt import App, Assistant

MANAGERS = {"UTOM"}

app = App(token=os.environ["SLACK_BOT_TOKEN"], signing_secret=os.environ["SLACK_SIGNING_SECRET"])
assistant = Assistant()


@assistant.user_message
def answer(client, context, set_status):
    set_status("is thinking…")
    place = {"channel": context.channel_id, "thread_ts": context.thread_ts}
    found = client.conversations_replies(channel=context.channel_id, ts=context.thread_ts, limit=50)
    messages = [{"role": "system", "content": INSTRUCTIONS}]
    for message in found["messages"]:
        messages.append({"role": "assistant" if "bot_id" in message else "user", "content": message["text"]})
    run_agent(messages, client, place)


def run_agent(messages, client, place):
    for _ in range(10):
        stream, call = None, None
        for piece in stream_answer(messages):
            if "call" in piece:
                call = piece["call"]
            else:
                stream = stream or client.chat_stream(**place, buffer_size=1)
                stream.append(markdown_text=piece["text"])
        if stream is not None:
            stream.stop()
        if call is None:
            return
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        if call["name"] == "refund":
            ask_managers(call, messages, client, place)
            return
        result = find_order(**call["arguments"])
        messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})


def ask_managers(call, messages, client, place):
    text = f"Refund {call['arguments']['euros']:.2f} € for order {call['arguments']['number']}?"
    value = json.dumps({"call": call, "messages": messages[-4:]})
    buttons = [
        {"type": "button", "action_id": name, "value": value, "text": {"type": "plain_text", "text": label}}
        for name, label in (("approve", "Approve"), ("decline", "Decline"))
    ]
    section = {"type": "section", "text": {"type": "mrkdwn", "text": text}}
    client.chat_postMessage(**place, text=text, blocks=[section, {"type": "actions", "elements": buttons}])


@app.action("approve")
@app.action("decline")
def decide(ack, action, body, client):
    ack()
    card, user = body["container"], body["user"]["id"]
    if user not in MANAGERS:
        client.chat_postEphemeral(channel=card["channel_id"], user=user, text="Somebody else decides.")
        return
    given = json.loads(action["value"])
    call, is_approved = given["call"], action["action_id"] == "approve"
    result = create_refund(**call["arguments"], key=card["message_ts"]) if is_approved else "declined"
    outcome = f"{'Approved' if is_approved else 'Declined'} by <@{user}>."
    client.chat_update(channel=card["channel_id"], ts=card["message_ts"], text=outcome, blocks=[])
    messages = [*given["messages"], {"role": "tool", "tool_call_id": call["id"], "content": result}]
    run_agent(messages, client, {"channel": card["channel_id"], "thread_ts": card["thread_ts"]})


app.assistant(assistant)
