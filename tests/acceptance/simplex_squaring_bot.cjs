// A squaring bot over the official client `simplex-chat`: it makes its address, lets everybody in, and answers numbers.
const { createRequire } = require("node:module")

const load = createRequire(`${process.env.PACKAGE}/`)
const { ChatClient } = load("simplex-chat")
const { ChatType } = load("simplex-chat/dist/command")
const { ciContentText } = load("simplex-chat/dist/response")

const say = (client, contact, text) => client.apiSendTextMessage(ChatType.Direct, contact.contactId, text)

async function answer(client, { chatInfo, chatItem }) {
  const text = ciContentText(chatItem.content)
  if (chatInfo.type !== "direct" || !text) return
  const number = Number(text)
  await say(client, chatInfo.contact, Number.isNaN(number) ? "this is not a number" : `${number} * ${number} = ${number ** 2}`)
}

async function main() {
  const client = await ChatClient.create(process.env.SIMPLEX_URL)
  const user = await client.apiGetActiveUser()
  if ((await client.apiGetUserAddress()) === undefined) await client.apiCreateUserAddress()
  await client.enableAddressAutoAccept()
  console.log(`ready as ${user.profile.displayName}`)
  for await (const event of client.msgQ) {
    const record = await event
    if (record.type === "contactConnected") await say(client, record.contact, "Send me a number.")
    if (record.type === "newChatItems") for (const item of record.chatItems) await answer(client, item)
  }
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})
