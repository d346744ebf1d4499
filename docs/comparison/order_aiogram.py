"""The order dialog in aiogram: a state for each question, and a storage that keeps the states."""

import asyncio

from aiogram import F, Router
from aiogram.filters import Command
from aiogram.fsm.context import FSMContext
from aiogram.fsm.state import State, StatesGroup
from aiogram.types import KeyboardButton, Message, ReplyKeyboardMarkup, ReplyKeyboardRemove, Update
from shop import create_order

SIZES = ["S", "M", "L"]
KEYBOARD = ReplyKeyboardMarkup(keyboard=[[KeyboardButton(text=size) for size in SIZES]])

router = Router()


class Order(StatesGroup):
    size = State()
    count = State()


@router.message(Command("order"))
async def order(message: Message, state: FSMContext):
    await message.answer("Which size?", reply_markup=KEYBOARD)
    await state.set_state(Order.size)


@router.message(Command("cancel"), Order.size)
@router.message(Command("cancel"), Order.count)
async def cancel(message: Message, state: FSMContext):
    await message.answer("All right, cancelled.", reply_markup=ReplyKeyboardRemove())
    await state.clear()


@router.message(Order.size, F.text.in_(SIZES))
async def take_size(message: Message, state: FSMContext):
    await message.answer("How many?", reply_markup=ReplyKeyboardRemove())
    await state.update_data(size=message.text)
    await state.set_state(Order.count)


@router.message(Order.size)
async def refuse_size(message: Message):
    await message.answer("Please choose one of: S, M, L.", reply_markup=KEYBOARD)


@router.message(Order.count, F.text.regexp("^[1-9]$"))
async def take_count(message: Message, state: FSMContext, event_update: Update):
    size = (await state.get_data())["size"]
    order_id = await asyncio.to_thread(create_order, size, int(message.text), f"order-{event_update.update_id}")
    await message.answer(f"{message.text} of size {size}, order {order_id}. Thank you.")
    await state.clear()


@router.message(Order.count)
async def refuse_count(message: Message):
    await message.answer("1 to 9, please.")
