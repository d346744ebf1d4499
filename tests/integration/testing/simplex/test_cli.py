"""The stand-in, talked to by a plain WebSocket: what it answers, what it tells, and that all of it is of the API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from cometbot.testing import FakeSimplexCLI
from cometbot.testing.simplex import FakeGroup, Person
from tests.integration.testing.simplex.conftest import Client, send, sent

TEXT = {"type": "text", "text": "hi"}


# Frames


@pytest.mark.parametrize(
    "frame",
    [
        "hello",
        "{}",
        "[]",
        '{"corrId":7,"cmd":"/user"}',
        '{"cmd":"/user"}',
        '{"corrId":"7"}',
        b"\xff",
        '{"corrId":"7","cmd":5}',
    ],
)
def test_invalid_request_has_no_correlation_id(frame: str | bytes, client: Client) -> None:
    client.socket.send(frame)
    answer = client.receive()
    assert "corrId" not in answer
    assert answer["resp"]["chatError"]["errorType"] == {"type": "commandError", "message": "invalid request"}


def test_unparsable_command_gets_the_clis_error(client: Client) -> None:
    answer = client("/nonsense")
    assert answer["chatError"]["errorType"] == {"type": "commandError", "message": "Failed reading: empty"}


def test_an_event_goes_to_exactly_one_client(cli: FakeSimplexCLI, connect_client: Callable[[], Client]) -> None:
    first, second = connect_client(), connect_client()
    first("/user")
    second("/user")
    for _ in range(20):
        cli.emit({"type": "chatErrors", "chatErrors": []})
    first("/user")
    second("/user")
    cli.wait_for(lambda: cli.server.waiting_events == 0)
    first("/user")
    second("/user")
    assert len(first.events) + len(second.events) == 20


# Profiles and addresses


def test_profiles_are_made_chosen_changed_and_deleted(client: Client) -> None:
    assert client("/user")["user"]["localDisplayName"] == "Echo bot"
    made = client(
        '/_create user {"profile":{"displayName":"Two","fullName":""},"pastTimestamp":false,'
        '"userChatRelay":false,"clientService":false}'
    )
    assert made["user"]["userId"] == 2
    assert [info["user"]["activeUser"] for info in client("/users")["users"]] == [False, True]
    assert client.error_tag("/_show_address 1") == "differentActiveUser"
    assert client.error_tag('/_create user {"profile":{"displayName":"Two","fullName":""}}') == "userExists"
    assert client.error_tag('/_create user {"profile":{"displayName":"#x","fullName":""}}') == "invalidDisplayName"
    assert client("/_user 1")["user"]["userId"] == 1
    assert client.error_tag("/_user 9") == "userNotFound"
    assert client.error_tag("/_delete user 1 del_smp=on") == "cantDeleteActiveUser"
    assert client("/_delete user 2 del_smp=on")["type"] == "cmdOk"
    assert client.error_tag("/_delete user 1 del_smp=on") == "cantDeleteLastUser"
    assert (
        client('/_profile 1 {"displayName":"One","fullName":"","peerType":"bot"}')["toProfile"]["displayName"] == "One"
    )
    assert client('/_profile 1 {"displayName":"One","fullName":"","peerType":"bot"}')["type"] == "userProfileNoChange"
    assert client.error_tag('/_profile 1 {"displayName":"One"}') == "commandError"
    assert client("/_set accept member contacts 1 on")["user_"]["autoAcceptMemberContacts"]
    assert [client("/_start")["type"], client("/_stop")["type"]] == ["chatRunning", "chatStopped"]
    assert client("/version")["type"] == "versionInfo"


def test_a_cli_without_a_profile_says_so() -> None:
    with FakeSimplexCLI(display_name="") as cli, connect(cli.url, proxy=None) as socket:
        assert Client(socket).error_tag("/user") == "noActiveUser"


def test_an_address_is_made_shown_set_and_deleted(client: Client) -> None:
    assert client.error_tag("/_show_address 1") == "userContactLinkNotFound"
    assert client.error_tag('/_address_settings 1 {"businessAddress":false}') == "userContactLinkNotFound"
    link = client("/_address 1")["connLinkContact"]
    assert client.error_tag("/_address 1") == "duplicateContactLink"
    settings = {"businessAddress": False, "autoAccept": {"acceptIncognito": False}}
    changed = client(f"/_address_settings 1 {json.dumps(settings)}")["contactLink"]
    assert (changed["addressSettings"], changed["connLinkContact"]) == (settings, link)
    assert client.error_tag("/_address_settings 1 {}") == "commandError"
    assert client("/_profile_address 1 on")["toProfile"]["contactLink"] == link["connShortLink"]
    assert "contactLink" not in client("/_profile_address 1 off")["toProfile"]
    assert client("/_delete_address 1")["type"] == "userContactLinkDeleted"
    assert client.error_tag("/_delete_address 1") == "userContactLinkNotFound"


# People


def test_people_who_follow_the_address_are_let_in_or_wait(client: Client, cli: FakeSimplexCLI) -> None:
    with pytest.raises(ValueError, match="no address"):
        cli.request("nobody")
    client("/_address 1")
    waiting = cli.request("erin")
    assert isinstance(waiting, int)
    assert client.event("receivedContactRequest")["contactRequest"]["contactRequestId"] == waiting
    assert client(f"/_accept {waiting}")["contact"]["localDisplayName"] == "erin"
    assert client.event("contactSndReady")["contact"] == client.event("contactConnected")["contact"]
    assert client.error_tag(f"/_accept {waiting}") == "contactRequestNotFound"
    second = cli.request("fred")
    assert client(f"/_reject {second}")["contactRequest"]["localDisplayName"] == "fred"
    welcome = {"businessAddress": False, "autoAccept": {"acceptIncognito": False}, "autoReply": TEXT}
    client(f"/_address_settings 1 {json.dumps(welcome)}")
    gina = cli.request("gina")
    assert isinstance(gina, Person)
    assert client.event("contactConnected")["contact"]["localDisplayName"] == "gina"
    assert gina.texts() == ["hi"]
    client('/_address_settings 1 {"businessAddress":true,"autoAccept":{"acceptIncognito":false}}')
    dave = cli.request("dave")
    assert isinstance(dave, Person)
    info = client.event("acceptingBusinessRequest")["groupInfo"]
    assert dave.chat == f"#{info['groupId']}"
    dave.say("help")
    item = client.event("newChatItems")["chatItems"][0]
    assert item["chatItem"]["chatDir"]["groupMember"]["memberId"] == info["businessChat"]["customerId"]


def test_two_of_one_name_have_two_names_here(cli: FakeSimplexCLI, client: Client) -> None:
    cli.connect("alice")
    cli.connect("alice")
    contacts = client("/_contacts 1")["contacts"]
    assert [contact["localDisplayName"] for contact in contacts] == ["alice", "alice_1"]
    assert [contact["profile"]["displayName"] for contact in contacts] == ["alice", "alice"]


def test_contacts_go_and_change_their_names(cli: FakeSimplexCLI, client: Client) -> None:
    alice = cli.connect("alice")
    cli.do("rename", chat=alice.chat, name="alicia")
    assert client.event("contactUpdated")["toContact"]["profile"]["displayName"] == "alicia"
    assert client(f'/_set custom {alice.chat} {{"a":1}}')["type"] == "cmdOk"
    assert client("/_contacts 1")["contacts"][0]["customData"] == {"a": 1}
    client(f"/_set custom {alice.chat}")
    assert "customData" not in client("/_contacts 1")["contacts"][0]
    changed = client(f'/_set prefs {alice.chat} {{"files":{{"allow":"no"}}}}')["toContact"]
    assert changed["userPreferences"] == {"files": {"allow": "no"}}
    alice.leave()
    assert client.event("contactDeletedByContact")["contact"]["contactStatus"] == "deleted"
    assert client.error_tag(send(alice.chat, TEXT)) == "contactNotReady"
    assert client(f"/_delete {alice.chat} full notify=off")["type"] == "contactDeleted"
    assert client.error_tag(send(alice.chat, TEXT)) == "contactNotFound"


def test_links_lead_to_connections(client: Client) -> None:
    invitation = client("/_connect 1")
    number = invitation["connection"]["pccConnId"]
    assert client(f"/_delete :{number} entity")["type"] == "contactConnectionDeleted"
    assert client.error_tag(f"/_delete :{number} entity") == "pendingConnectionNotFound"
    assert client("/_connect 1 https://smp9.example.org/a#Key")["type"] == "sentInvitation"
    assert client("/connect https://smp9.example.org/i#Key")["type"] == "sentConfirmation"
    assert client.error_tag("/connect alice") == "invalidConnReq"
    assert client("/_connect plan 1 https://smp9.example.org/a#Key")["type"] == "connectionPlan"
    assert client.error_tag("/_connect plan 1 alice") == "invalidConnReq"


# Messages


def test_messages_are_sent_quoted_edited_and_deleted(cli: FakeSimplexCLI, client: Client) -> None:
    alice = cli.connect("alice")
    asked = alice.say("question")
    quote = {"msgContent": TEXT, "quotedItemId": asked, "mentions": {}}
    answer = client(send(alice.chat, quote, {"type": "text", "text": "two"}))
    assert [item["chatItem"]["meta"]["itemStatus"]["type"] for item in answer["chatItems"]] == ["sndNew"] * 2
    assert answer["chatItems"][0]["chatItem"]["quotedItem"]["itemId"] == asked
    statuses = client.event("chatItemsStatusesUpdated")["chatItems"]
    assert statuses[0]["chatItem"]["meta"]["itemStatus"] == {"type": "sndSent", "sndProgress": "complete"}
    number = sent(answer)
    changed = {"msgContent": {"type": "text", "text": "better"}, "mentions": {}}
    update = f"/_update item {alice.chat} {number} json {json.dumps(changed)}"
    assert client(update)["chatItem"]["chatItem"]["meta"]["itemEdited"]
    assert client(update)["type"] == "chatItemNotChanged"
    assert client.error_tag(update.replace(f" {number} ", f" {asked} ")) == "invalidChatItemUpdate"
    assert client.error_tag(update.replace(f" {number} ", " 999 ")) == "chatItemNotFound"
    assert [(line.text, line.quote_id, line.is_edited) for line in alice.said()] == [
        ("better", asked, True),
        ("two", None, False),
    ]
    assert client.error_tag(f"/_delete item {alice.chat} {asked} broadcast") == "invalidChatItemDelete"
    assert client(f"/_delete item {alice.chat} {number} broadcast")["byUser"]
    assert alice.texts() == ["two"]
    assert sent(client(f"/_send {alice.chat} text plain words")) > number


def test_live_and_timed_messages_are_marked(cli: FakeSimplexCLI, client: Client) -> None:
    alice = cli.connect("alice")
    number = sent(client(send(alice.chat, TEXT, options=" live=on ttl=60")))
    assert [(line.is_live, line.ttl) for line in alice.said()] == [(True, 60)]
    body = json.dumps({"msgContent": {"type": "text", "text": "more"}, "mentions": {}})
    client(f"/_update item {alice.chat} {number} live=on json {body}")
    assert alice.said()[0].is_live
    client(f"/_update item {alice.chat} {number} json {body}")
    assert not alice.said()[0].is_live


def test_wrong_messages_are_refused_as_the_cli_refuses_them(cli: FakeSimplexCLI, client: Client) -> None:
    alice, team = cli.connect("alice"), cli.add_group("Team", ["bob"])
    quote = {"msgContent": TEXT, "quotedItemId": alice.say("x"), "mentions": {}}
    assert client.error_tag(send("@999", TEXT)) == "contactNotFound"
    assert client.error_tag(send("#999", TEXT)) == "groupNotFound"
    assert client.error_tag(f"/_send {alice.chat} json {{}}") == "commandError"
    assert client.error_tag(f"/_send {alice.chat} json []") == "commandError"
    assert client.error_tag(send(alice.chat, {"type": "text"})) == "commandError"
    assert client.error_tag(send(alice.chat, quote, quote)) == "commandError"
    assert client.error_tag(send(alice.chat, TEXT, TEXT, options=" live=on")) == "commandError"
    assert client.error_tag(send(alice.chat, {**quote, "quotedItemId": "x"})) == "commandError"
    assert client.error_tag(send(team.chat, quote)) == "invalidQuote"
    assert client.error_tag(send(team.chat, {"msgContent": TEXT, "mentions": {"bob": 999}})) == "invalidMention"
    assert client.error_tag(send(alice.chat, {"type": "text", "text": "x" * 15_700})) == "largeMsg"
    assert alice.texts() == []


def test_reactions_are_put_on_and_taken_off(cli: FakeSimplexCLI, client: Client) -> None:
    alice = cli.connect("alice")
    number = alice.say("good")
    put = f'/_reaction {alice.chat} {number} on {{"type":"emoji","emoji":"👍"}}'
    assert client(put)["reaction"]["chatReaction"]["chatDir"] == {"type": "directSnd"}
    assert cli.lines(alice.chat)[0].reactions == ("👍",)
    assert client.error_tag(put) == "commandError"
    assert not client(put.replace(" on ", " off "))["added"]
    assert cli.lines(alice.chat)[0].reactions == ()
    assert client.error_tag(put.replace("👍", "🦊")) == "commandError"
    assert client.error_tag(put.replace("👍", "❤\ufe0f")) == "commandError"
    alice.react(number, "🦊")
    assert client.event("chatItemReaction")["reaction"]["chatReaction"]["reaction"]["emoji"] == "🦊"


def test_user_actions_on_messages_emit_events(cli: FakeSimplexCLI, client: Client) -> None:
    alice = cli.connect("alice")
    team: FakeGroup = cli.add_group("Team", [alice, "bob"])
    first = team.say(alice, "status?", mention=True)
    item = client.event("newChatItems")["chatItems"][0]["chatItem"]
    assert item["meta"]["itemText"] == "@'Echo bot' status?"
    assert item["meta"]["userMention"]
    assert item["formattedText"][1]["text"] == " status?"
    assert item["mentions"]["Echo bot"]["memberRef"]["memberRole"] == "admin"
    team.say("bob", "/help", quote_id=first)
    item = client.event("newChatItems")["chatItems"][0]["chatItem"]
    assert item["quotedItem"]["itemId"] == first
    assert item["formattedText"] == [{"format": {"type": "command", "commandStr": "help"}, "text": "/help"}]
    team.edit(first, "later?", live=True)
    assert client.event("chatItemUpdated")["chatItem"]["chatItem"]["meta"]["itemLive"]
    team.delete(first)
    assert not client.event("chatItemsDeleted")["byUser"]
    cli.do("moderate", chat=team.chat, item_id=first, by="bob")
    assert client.event("groupChatItemsDeleted")["chatItemIDs"] == [first]
    team.react("bob", first, "👍")
    assert (
        client.event("chatItemReaction")["reaction"]["chatReaction"]["chatDir"]["groupMember"]["localDisplayName"]
        == "bob"
    )
    with pytest.raises(ValueError, match="'carol' is no member"):
        team.say("carol", "hi")


# Groups


def test_groups_are_led_by_the_bot(cli: FakeSimplexCLI, client: Client) -> None:
    alice = cli.connect("alice")
    info = client('/_group 1 {"displayName":"Team","fullName":""}')["groupInfo"]
    chat = f"#{info['groupId']}"
    invited = client(f"/_add {chat} {alice.contact_id} member")["member"]
    assert invited["memberStatus"] == "invited"
    assert client.event("joinedGroupMember")["member"]["localDisplayName"] == "alice"
    assert client.error_tag(f"/_add {chat} {alice.contact_id} member") == "groupDuplicateMember"
    number = invited["groupMemberId"]
    assert client(f"/_members {chat}")["group"]["members"][0]["groupMemberId"] == number
    assert client(f"/_member role {chat} {number} moderator")["toRole"] == "moderator"
    assert client(f"/_block {chat} {number} blocked=on")["blocked"]
    assert client.error_tag(f"/_accept member {chat} {number} member") == "groupMemberNotActive"
    assert client.error_tag(f"/_remove {chat} 999") == "groupMemberNotFound"
    said = FakeGroup(cli, chat).say("alice", "rude")
    assert client(f"/_delete member item {chat} {said}")["chatItemDeletions"]
    assert client(f"/_remove {chat} {number} messages=on")["withMessages"]
    profile = {"displayName": "Team", "fullName": "", "groupPreferences": {"files": {"enable": "off"}}}
    assert client(f"/_group_profile {chat} {json.dumps(profile)}")["toGroup"]["groupProfile"] == profile
    assert client(f'/_set custom {chat} {{"a":1}}')["type"] == "cmdOk"
    assert client("/_groups 1 tea")["groups"][0]["customData"] == {"a": 1}
    assert client("/_groups 1 nothing")["groups"] == []
    assert client(f"/_leave {chat}")["type"] == "leftMemberUser"
    assert client.error_tag(send(chat, TEXT)) == "groupMemberNotActive"
    assert client(f"/_delete {chat} full")["type"] == "groupDeletedUser"


def test_group_links_are_made_changed_and_deleted(cli: FakeSimplexCLI, client: Client) -> None:
    chat = cli.add_group("Team", ["bob"]).chat
    assert client.error_tag(f"/_get link {chat}") == "groupLinkNotFound"
    assert client(f"/_create link {chat} member")["groupLink"]["acceptMemberRole"] == "member"
    assert client.error_tag(f"/_create link {chat} member") == "duplicateGroupLink"
    assert client(f"/_set link role {chat} observer")["groupLink"]["acceptMemberRole"] == "observer"
    assert client(f"/_get link {chat}")["type"] == "groupLink"
    assert client(f"/_delete link {chat}")["type"] == "groupLinkDeleted"
    assert client.error_tag(f"/_set link role {chat} observer") == "groupLinkNotFound"


def test_a_bot_without_the_role_for_it_is_refused(cli: FakeSimplexCLI, client: Client) -> None:
    team = cli.add_group("Team", ["bob"], role="observer")
    assert client.error_tag(send(team.chat, TEXT)) == "groupUserRole"
    said = team.say("bob", "hi")
    assert client.error_tag(f"/_delete member item {team.chat} {said}") == "groupUserRole"
    assert client.error_tag(f"/_create link {team.chat} member") == "groupUserRole"
    cli.do("set_role", chat=team.chat, name="", role="member", by="bob")
    assert client.event("memberRole")["toRole"] == "member"
    assert sent(client(send(team.chat, TEXT)))


def test_an_invited_bot_joins_once_and_members_come_and_go(cli: FakeSimplexCLI, client: Client) -> None:
    alice = cli.connect("alice")
    team = cli.add_group("Team", [alice], invited=True)
    assert client.event("receivedGroupInvitation")["contact"]["localDisplayName"] == "alice"
    assert client.error_tag(send(team.chat, TEXT)) == "groupNotJoined"
    assert client(f"/_join {team.chat}")["type"] == "userAcceptedGroupSent"
    assert client.error_tag(f"/_join {team.chat}") == "groupAlreadyJoined"
    member = team.join("bob")
    assert client.event("joinedGroupMember")["member"]["groupMemberId"] == member
    assert client(f"/_create member contact {team.chat} {member}")["type"] == "newMemberContact"
    cli.do("remove", chat=team.chat, name="bob", by="alice")
    assert client.event("deletedMember")["deletedMember"]["localDisplayName"] == "bob"
    team.join("carol")
    team.leave("carol")
    assert client.event("leftMember")["member"]["localDisplayName"] == "carol"
    cli.do("expel", chat=team.chat, by="alice")
    assert client.event("deletedMemberUser")["groupInfo"]["membership"]["memberStatus"] == "removed"
    cli.do("delete_group", chat=team.chat, by="alice")
    assert client.event("groupDeleted")["member"]["localDisplayName"] == "alice"


def test_channels_over_relays_cannot_be_made_here_and_say_so(cli: FakeSimplexCLI, client: Client) -> None:
    chat = cli.add_group("Team", ["bob"]).chat
    profile = '{"displayName":"News","fullName":""}'
    assert client(f"/_public group 1 1 {profile}")["type"] == "publicGroupCreationFailed"
    assert client(f"/_get relays {chat}")["groupRelays"] == []
    assert client(f"/_add relays {chat} 2")["type"] == "groupRelaysAddFailed"
    assert client(f"/_relay allow {chat}")["type"] == "relayGroupAllowed"


# Lists


def test_chats_are_listed_newest_first_and_read_in_pages(cli: FakeSimplexCLI, client: Client) -> None:
    alice, bob = cli.connect("alice"), cli.connect("bob")
    numbers = [alice.say(str(number)) for number in range(5)]
    other = bob.say("hello")
    team = cli.add_group("Team", [alice])
    everything = '{"type":"filters","favorite":false,"unread":false}'
    chats = client(f"/_get chats 1 count=10 {everything}")["chats"]
    assert [
        chat["chatInfo"].get("contact", chat["chatInfo"].get("groupInfo"))["localDisplayName"] for chat in chats
    ] == ["Team", "bob", "alice"]
    assert chats[2]["chatStats"]["unreadCount"] == 5
    assert [item["meta"]["itemId"] for item in chats[2]["chatItems"]] == numbers[-1:]
    assert len(client(f"/_get chats 1 count=1 {everything}")["chats"]) == 1
    assert len(client('/_get chats 1 count=9 {"type":"filters","favorite":false,"unread":true}')["chats"]) == 2
    assert len(client('/_get chats 1 count=9 {"type":"search","search":"BO"}')["chats"]) == 1

    def page(rest: str) -> list[int]:
        return [item["meta"]["itemId"] for item in client(f"/_get chat {alice.chat} {rest}")["chat"]["chatItems"]]

    assert page("count=2") == numbers[-2:]
    assert page(f"after={numbers[1]} count=2") == numbers[2:4]
    assert page(f"before={numbers[3]} count=2") == numbers[1:3]
    assert page(f"around={numbers[2]} count=2") == numbers[1:4]
    assert page("count=9 search=3") == [numbers[3]]
    assert client.error_tag(f"/_get chat {alice.chat} after={other} count=1") == "chatItemNotFound"
    assert client(f"/_read chat {alice.chat}")["type"] == "cmdOk"
    assert client(f"/_delete {alice.chat} messages")["type"] == "contactDeleted"
    assert page("count=9") == []
    assert client(f"/_get chat {team.chat} count=1")["chat"]["chatItems"] == []


# Files


def test_files_are_received_where_the_cli_would_put_them(cli: FakeSimplexCLI, client: Client, tmp_path: Path) -> None:
    alice = cli.connect("alice")

    def offer(name: str = "photo.jpg", **options: Any) -> int:
        alice.say("look", file=(name, b"bytes"), **options)
        number: int = client.event("newChatItems")["chatItems"][0]["chatItem"]["file"]["fileId"]
        return number

    def done() -> str:
        path: str = client.event("rcvFileComplete")["chatItem"]["chatItem"]["file"]["fileSource"]["filePath"]
        return path

    first = offer()
    assert client(f"/freceive {first} approved_relays=on encrypt=off")["type"] == "rcvFileAccepted"
    assert client.event("rcvFileStart")
    assert done() == "photo.jpg"
    assert (tmp_path / "files" / "photo.jpg").read_bytes() == b"bytes"
    assert client.error_tag(f"/freceive {first} approved_relays=on") == "fileAlreadyReceiving"
    client(f"/freceive {offer()} approved_relays=on")
    assert done() == "photo_1.jpg"
    client(f"/freceive {offer()} approved_relays=on {tmp_path}")
    assert done() == str(tmp_path / "photo.jpg")
    client(f"/freceive {offer()} approved_relays=on {tmp_path}/my file.jpg")
    assert done() == str(tmp_path / "my file.jpg")
    assert client.error_tag(f"/freceive {offer()} {tmp_path}/my file.jpg") == "fileAlreadyExists"
    assert client.error_tag(f"/freceive {offer()} {tmp_path}/no/folder.jpg") == "fileWrite"
    assert client.error_tag("/freceive 9999") == "rcvFileNotFound"
    assert client.error_tag(f"/freceive {offer(foreign=True)}") == "fileNotApproved"
    client(f"/freceive {offer('../../etc/passwd')} approved_relays=on")
    assert done() == "passwd"
    client(f"/freceive {offer('locked.bin')} approved_relays=on encrypt=on")
    assert client.event("rcvFileComplete")["chatItem"]["chatItem"]["file"]["fileSource"]["cryptoArgs"]
    assert (tmp_path / "files" / "locked.bin").read_bytes() != b"bytes"


def test_downloads_are_held_finished_failed_and_cancelled(cli: FakeSimplexCLI, client: Client, tmp_path: Path) -> None:
    cli.handlers.holds_files = True
    alice = cli.connect("alice")
    numbers = []
    for _ in range(4):
        alice.say("look", file=("a.pdf", b"bytes"))
        numbers.append(client.event("newChatItems")["chatItems"][0]["chatItem"]["file"]["fileId"])
    for number in numbers[:3]:
        client(f"/freceive {number} approved_relays=on {tmp_path}/{number}.pdf")
        assert (tmp_path / f"{number}.pdf").read_bytes() == b""
    cli.do("finish_file", file_id=numbers[0])
    assert client.event("rcvFileComplete")
    cli.do("fail_file", file_id=numbers[1], names_item=False)
    failure = client.event("rcvFileError")
    assert "chatItem_" not in failure
    assert failure["rcvFileTransfer"]["fileId"] == numbers[1]
    assert client(f"/fcancel {numbers[2]}")["type"] == "rcvFileCancelled"
    assert client.error_tag(f"/fcancel {numbers[2]}") == "fileCancel"
    assert not (tmp_path / f"{numbers[2]}.pdf").exists()
    cli.do("cancel_file", file_id=numbers[3])
    assert client.event("rcvFileSndCancelled")["rcvFileTransfer"]["cancelled"]
    assert client(f"/freceive {numbers[3]}")["type"] == "rcvFileAcceptedSndCancelled"


def test_files_are_sent_from_the_clis_machine(cli: FakeSimplexCLI, client: Client, tmp_path: Path) -> None:
    alice = cli.connect("alice")
    (tmp_path / "files" / "cat.jpg").write_bytes(b"cat")

    def message(path: str) -> dict[str, Any]:
        return {"msgContent": {"type": "file", "text": ""}, "mentions": {}, "fileSource": {"filePath": path}}

    file = client(send(alice.chat, message("cat.jpg")))["chatItems"][0]["chatItem"]["file"]
    assert (file["fileName"], file["fileSize"], file["fileStatus"]) == ("cat.jpg", 3, {"type": "sndStored"})
    assert client.event("sndFileCompleteXFTP")["fileTransferMeta"]["fileId"] == file["fileId"]
    assert client(send(alice.chat, message(str(tmp_path / "files" / "cat.jpg"))))["type"] == "newChatItems"
    assert [line.file_path for line in alice.said()] == ["cat.jpg", str(tmp_path / "files" / "cat.jpg")]
    assert client.error_tag(send(alice.chat, message("dog.jpg"))) == "fileNotFound"
    assert client.error_tag(send(alice.chat, message(""))) == "commandError"
    cli.handlers.file_limit = 2
    assert client.error_tag(send(alice.chat, message("cat.jpg"))) == "fileSize"
    assert client.error_tag(f"/fcancel {file['fileId']}") == "fileCancel"


# Life


def test_restarted_cli_loses_only_unread_events(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with FakeSimplexCLI(state=state) as cli:
        alice = cli.connect("alice")
        number = alice.say("remember")
        port = cli.server.port
        cli.restart()
        assert cli.server.port == port
        assert cli.server.waiting_events == 0
    with FakeSimplexCLI(state=state, display_name="other") as again, connect(again.url, proxy=None) as socket:
        client = Client(socket)
        assert client("/user")["user"]["localDisplayName"] == "Echo bot"
        items = client(f"/_get chat {alice.chat} count=5")["chat"]["chatItems"]
        assert [item["meta"]["itemId"] for item in items] == [number]
        assert Person(again, alice.chat, "alice").say("more") > number


def test_whoever_lacks_the_credentials_is_not_let_in() -> None:
    with FakeSimplexCLI(credentials=("bot", "secret")) as cli:
        with pytest.raises(InvalidStatus, match="401"), connect(cli.url, proxy=None):
            pass
        header = {"Authorization": "Basic Ym90OnNlY3JldA=="}
        with connect(cli.url, proxy=None, additional_headers=header) as socket:
            assert Client(socket)("/user")["type"] == "activeUser"


def test_a_dropped_client_gets_no_close_frame(cli: FakeSimplexCLI, client: Client) -> None:
    client("/user")
    cli.drop()
    with pytest.raises(ConnectionClosed) as closed:
        client.receive()
    assert closed.value.rcvd is None


def test_what_nobody_can_do_is_an_error(cli: FakeSimplexCLI) -> None:
    for name in ("fly", "_group", "do", "state"):
        with pytest.raises(ValueError, match="nobody can"):
            cli.do(name)
    with pytest.raises(ValueError, match="base64"):
        cli.do("say", chat=cli.connect("a").chat, text="", file_name="x", file_content="%")
    with pytest.raises(AssertionError, match="did not come about"):
        cli.wait_for(lambda: False, timeout=0.02)
