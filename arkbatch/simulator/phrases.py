"""The words of simulated answers, in the language of the prompt.

The first words and the last sentence of each answer say that it is simulated.
"""

from random import Random

from arkbatch.simulator import tokens

_EXCERPT = 24  # characters of the prompt that an answer quotes

_CHINESE = (
    "先看结论，再看理由，最后看例外。",
    "可以把它拆成三步：准备、执行、检查。",
    "常见的做法不止一种，选最简单的那种往往就够了。",
    "数据不多时直接试一试，比长时间推演更快。",
    "需要注意边界情况，例如空值、重复和超长的输入。",
    "如果时间有限，先保证正确，再考虑速度。",
    "换一个角度：假如结果不对，最先该怀疑哪一步？",
    "把假设写下来，日后回头核对会轻松许多。",
)
_ENGLISH = (
    "Start with the conclusion, then the reasons, then the exceptions.",
    "It comes in three steps: prepare, do, check.",
    "There is more than one way; the simplest is often good enough.",
    "With little data, trying it out beats a long argument.",
    "Mind the edges: empty values, duplicates, very long inputs.",
    "When time is short, get it right first and quick later.",
    "Seen from the other side: if the result were wrong, which step would you doubt first?",
    "Write the assumptions down; checking them later is then easy.",
)
_CHINESE_THOUGHTS = (
    "用户想知道的重点是什么？",
    "先确认题意，再列出已知条件。",
    "这里有两种理解，取更常见的一种。",
    "逐条核对一遍，没有发现矛盾。",
    "答案可以简短，但要说明来由。",
)
_ENGLISH_THOUGHTS = (
    "What is the question really after?",
    "First the known facts, then what follows from them.",
    "It can be read in two ways; the usual one fits.",
    "Checked point by point, nothing contradicts it.",
    "The answer may be short as long as it says why.",
)


def is_chinese(text: str) -> bool:
    """Whether a fifth of the characters are Chinese; mixed prompts mostly want a Chinese answer."""
    return tokens.chinese_characters(text) * 5 >= len(text) > 0


def answer_words(prompt: str, results: list[str], chance: Random) -> str:
    """Return an answer to a prompt; `results` came from tools and are quoted."""
    quote, told = _quote_prompt(prompt), [f"“{_quote_prompt(result)}”" for result in results]
    count = 1 + int(5 * chance.random())
    if is_chinese(prompt):
        heard = f"工具返回了{'、'.join(told)}。" if told else ""
        said = "".join(_pick_sentences(_CHINESE, count, chance))
        return f"【模拟回答】关于“{quote}”：{heard}{said}（由模拟器生成，没有调用模型。）"
    heard = f"The tools returned {', '.join(told)}. " if told else ""
    said = " ".join(_pick_sentences(_ENGLISH, count, chance))
    return f"[simulated answer] On “{quote}”: {heard}{said} (Made by the simulator; no model was called.)"


def reasoning_words(prompt: str, count: int, chance: Random) -> str:
    """Return a chain of thought of so many sentences."""
    if is_chinese(prompt):
        return "（模拟思考）" + "".join(_pick_sentences(_CHINESE_THOUGHTS, count, chance))
    return "(simulated thinking) " + " ".join(_pick_sentences(_ENGLISH_THOUGHTS, count, chance))


def _pick_sentences(sentences: tuple[str, ...], count: int, chance: Random) -> list[str]:
    """Return so many consecutive sentences from a random place of the list."""
    first = int(len(sentences) * chance.random())
    return [sentences[(first + k) % len(sentences)] for k in range(count)]


def _quote_prompt(prompt: str) -> str:
    line = " ".join(prompt[: 4 * _EXCERPT].split())
    return line if len(line) <= _EXCERPT else line[:_EXCERPT] + "…"
