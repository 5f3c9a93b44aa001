"""What a local model makes of a chat."""

import importlib.util
from collections.abc import Callable, Sequence

from jinja2 import TemplateError

from jaxecon.core.errors import UserError, first_line
from llm.engines.models.convert import INSTALL
from llm.engines.models.resolve import resolve
from llm.messages import Message


def chat_tokenizer(model: str) -> Callable[[Sequence[Message]], list[int]]:
    """A function from a chat to its tokens, those of the model's own chat template included.

    Args:
        model: a known name, a Hugging Face name, or a folder.

    Raises:
        UserError: the model, its chat template or the package transformers is not here.
    """
    if importlib.util.find_spec("transformers") is None:
        raise UserError(f"counting tokens needs transformers: {INSTALL}")
    folder = resolve(model)
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{model}: has no tokenizer ({first_line(error)})") from error
    if tokenizer.chat_template is None:
        raise UserError(f"{model}: its tokenizer has no chat template")

    def tokens(messages: Sequence[Message]) -> list[int]:
        chat = [{"role": message.role, "content": message.content} for message in messages]
        try:
            numbers: list[int] = tokenizer.apply_chat_template(
                chat, add_generation_prompt=True, tokenize=True, return_dict=False
            )
        except TemplateError as error:
            raise UserError(f"{model}: its chat template refuses the chat ({error})") from error
        return numbers

    return tokens
