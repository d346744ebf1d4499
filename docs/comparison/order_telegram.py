"""The order dialog in python-telegram-bot: a ConversationHandler, and a persistence that keeps its states."""

import asyncio

from shop import create_order
from telegram import ReplyKeyboardMarkup, ReplyKeyboardRemove, Update
from telegram.ext import CommandHandler, ContextTypes, ConversationHandler, MessageHandler, filters

SIZES = ["S", "M", "L"]
KEYBOARD = ReplyKeyboardMarkup([SIZES])
SIZE, COUNT = range(2)


async def order(update: Update, context: ContextTypes.DEFAULT_TYPE):
    await update.message.reply_text("Which size?", reply_markup=KEYBOARD)
    return SIZE


async def cancel(update: Update, context: ContextTypes.DEFAULT_TYPE):
    await update.message.reply_text("All right, cancelled.", reply_markup=ReplyKeyboardRemove())
    return ConversationHandler.END


async def take_size(update: Update, context: ContextTypes.DEFAULT_TYPE):
    context.user_data["size"] = update.message.text
    await update.message.reply_text("How many?", reply_markup=ReplyKeyboardRemove())
    return COUNT


async def refuse_size(update: Update, context: ContextTypes.DEFAULT_TYPE):
    await update.message.reply_text("Please choose one of: S, M, L.", reply_markup=KEYBOARD)
    return SIZE


async def take_count(update: Update, context: ContextTypes.DEFAULT_TYPE):
    size, count = context.user_data["size"], int(update.message.text)
    order_id = await asyncio.to_thread(create_order, size, count, f"order-{update.update_id}")
    await update.message.reply_text(f"{count} of size {size}, order {order_id}. Thank you.")
    return ConversationHandler.END


async def refuse_count(update: Update, context: ContextTypes.DEFAULT_TYPE):
    await update.message.reply_text("1 to 9, please.")
    return COUNT


handler = ConversationHandler(
    entry_points=[CommandHandler("order", order)],
    states={
        SIZE: [
            MessageHandler(filters.Text(SIZES), take_size),
            MessageHandler(~filters.COMMAND, refuse_size),
        ],
        COUNT: [
            MessageHandler(filters.Regex("^[1-9]$"), take_count),
            MessageHandler(~filters.COMMAND, refuse_count),
        ],
    },
    fallbacks=[CommandHandler("cancel", cancel)],
    allow_reentry=True,
    name="order",
    persistent=True,
)
