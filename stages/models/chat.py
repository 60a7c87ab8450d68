"""Prompts as a checkpoint's own chat template writes them, cut where a shared prefix ends and a target begins.

Messages are given as lists of parts where the template reads such lists, else as plain text with the video's mark in
it. The first user turn holds the video, what the prompt says of its frames (`head`), and the first question. An image
takes a video's place in a chat of its own, which has the image's mark.
"""

from typing import Any

from jinja2 import TemplateError

from stages.models.protocols import NotSeparable

CUT = "\x00"  # where the first question begins: a character that no template and no text holds

Turns = tuple[tuple[str, str], ...]


class Chat:
    """A tokenizer's chat template.

    `mark` is the video's token; `wrapped` and `bare` stand before the text of a plain message with a video and without.
    `part` is what a list of parts calls it.
    """

    def __init__(self, tokenizer: Any, *, mark: str, wrapped: str, bare: str, part: str = "video") -> None:
        if not tokenizer.chat_template:
            raise ValueError("the tokenizer has no chat template: put the checkpoint's chat_template.jinja beside it")
        self._tokenizer = tokenizer
        self.mark, self._wrapped, self._bare, self._part = mark, wrapped, bare, part
        self._parts = self._reads_parts()
        self._check()

    def ids(self, text: str) -> list[int]:
        """Tokens of a text that already holds every special token it should have."""
        return self._tokenizer.encode(text, add_special_tokens=False)

    def around(self, head: str, *, video: bool) -> tuple[str, str]:
        """What stands before the video and what stands from there to the first question; ("", all) without one."""
        before, _, _ = self.asked(head, (), CUT, video=video).partition(CUT)
        if not video:
            return "", before
        left, _, between = before.partition(self.mark)
        return left, between

    def asked(self, head: str, history: Turns, question: str, *, video: bool) -> str:
        """The prompt up to where the answer begins; the video is one mark."""
        asked = [*(q for q, _ in history), question]
        messages = [self._first(head + asked[0], video=video)]
        for (_, answer), following in zip(history, asked[1:], strict=True):
            messages += [self._message("assistant", answer), self._message("user", following)]
        return self._render(messages, turn=True)

    def branch(self, heads: tuple[str, str], history: Turns, question: str, answer: str) -> tuple[list[int], int]:
        """Ids from the first question on, and how many of them are the answer's; the same with a video and without.

        `heads` are what the prompt says with and without a video. Raises NotSeparable where the tokens of the whole
        prompt are not those of its parts.
        """
        with_video = self._cut(heads[0], history, question, answer, video=True)
        if with_video != self._cut(heads[1], history, question, answer, video=False):
            raise NotSeparable(f"{question[:40]!r}: its tokens depend on what stands before it: strip it")
        return with_video

    def conversation(self, head: str, turns: Turns, *, video: bool) -> tuple[list[int], list[tuple[int, int]]]:
        """Ids from the first question on to the end of the last answer, and [begin, end) of each answer among them.

        Earlier answers stand as the template writes them, the last one where it would begin to answer: this is what is
        read when the last one is scored, or asked for. Raises NotSeparable.
        """
        history, (question, answer) = turns[:-1], turns[-1]
        ids, n_target = self._cut(head, history, question, answer, video=video)
        answers = [(len(ids) - n_target, len(ids))]
        if history:
            prompt = self.asked(head, history, question, video=video)
            whole = self.ids(prompt + answer)
            places = [self._place(prompt, whole, head, turns, k, video=video) for k in range(len(history))]
            n_prefix = len(whole) - len(ids)
            answers = [*((a - n_prefix, b - n_prefix) for a, b in places), *answers]
        return ids, answers

    def closing(self) -> str:
        """What the template writes behind the end mark of the last answer; raises ValueError where it writes none."""
        written = self._render([self._first("Q", video=False), self._message("assistant", CUT)], turn=False)
        behind, end = written.partition(CUT)[2], self._tokenizer.eos_token
        if not end or not behind.startswith(end):
            raise ValueError(
                f"the chat template writes {behind!r} behind an answer, not the tokenizer's end mark {end!r}: set "
                "eos_token in tokenizer_config.json to what the template writes, or take the Instruct checkpoint"
            )
        return behind.removeprefix(end)

    def _place(self, prompt: str, whole: list[int], head: str, turns: Turns, k: int, *, video: bool) -> tuple[int, int]:
        """Where the ids of an earlier answer begin and end."""
        answer = turns[k][1]
        history = (*turns[:k], (turns[k][0], CUT), *turns[k + 1 : -1])
        before = self.asked(head, history, turns[-1][0], video=video).partition(CUT)[0]
        if not answer or not prompt.startswith(before + answer + self._tokenizer.eos_token):
            raise NotSeparable(
                f"{answer[:40]!r}: the template writes this answer otherwise, or behind it no "
                f"{self._tokenizer.eos_token!r}: strip it"
            )
        begin, end = self.ids(before), self.ids(before + answer)
        if whole[: len(begin)] != begin or whole[: len(end)] != end:
            raise NotSeparable(f"{answer[:40]!r}: this answer melts into what stands around it: strip it")
        return len(begin), len(end)

    def _cut(self, head: str, history: Turns, question: str, answer: str, *, video: bool) -> tuple[list[int], int]:
        """Ids from the first question on, and how many of them are the answer's."""
        left, between = self.around(head, video=video)
        prefix = self.ids(left + (self.mark if video else "") + between)
        prompt = self.asked(head, history, question, video=video)
        asked, whole = self.ids(prompt), self.ids(prompt + answer)
        mark = self.ids(self.mark)[0]
        if whole.count(mark) != video:
            raise NotSeparable(f"{question[:40]!r}: the text itself holds {self.mark!r}: take it out")
        if whole[: len(prefix)] != prefix or whole[: len(asked)] != asked:
            raise NotSeparable(f"{question[:40]!r}: question or answer melts into what stands before it: strip them")
        if len(whole) == len(asked):
            raise ValueError("an empty answer has no likelihood")
        return whole[len(prefix) :], len(whole) - len(asked)

    def _first(self, text: str, *, video: bool) -> dict[str, Any]:
        """The message that the video is in, or could be in."""
        if self._parts:
            return self._message("user", text, video=video)
        return self._message("user", (self._wrapped if video else self._bare) + text)

    def _message(self, role: str, text: str, *, video: bool = False) -> dict[str, Any]:
        if not self._parts:
            return {"role": role, "content": text}
        return {"role": role, "content": [*([{"type": self._part}] if video else []), {"type": "text", "text": text}]}

    def _render(self, messages: list[dict[str, Any]], *, turn: bool) -> str:
        return self._tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=turn)

    def _reads_parts(self) -> bool:
        message = {"role": "user", "content": [{"type": self._part}, {"type": "text", "text": CUT}]}
        try:
            text = self._render([message], turn=True)
        except (TemplateError, TypeError):
            return False
        return text.count(self.mark) == 1 and text.count(CUT) == 1 and "'type'" not in text

    def _check(self) -> None:
        """Raises where the template cannot be cut, or begins an answer otherwise than it writes one."""
        text = self.asked("", (), CUT, video=True)
        if text.count(self.mark) != 1 or text.count(CUT) != 1 or text.index(self.mark) > text.index(CUT):
            raise ValueError(
                f"the chat template does not put the {self._part}'s {self.mark!r} once before the question: {text!r}"
            )
        bos = self._tokenizer.bos_token_id
        if bos is not None and bos != self._tokenizer.eos_token_id and self.ids(text).count(bos) > 1:
            raise ValueError(f"the chat template writes {self._tokenizer.bos_token!r} more than once")
        begun = self.asked("", (), "Q", video=False) + "A"
        written = self._render([self._first("Q", video=False), self._message("assistant", "A")], turn=False)
        if not "".join(written.split()).startswith("".join(begun.split())):
            raise ValueError(
                f"the chat template begins an answer as {begun!r} but writes it as {written!r}: "
                "this is how checkpoints that think aloud look; take the Instruct one"
            )
