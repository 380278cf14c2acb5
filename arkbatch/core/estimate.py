"""How many tokens a request will cost, learned from what the earlier ones did cost.

No public tokenizer fits these models, so the input is taken as a sum of four things: so much for every request,
for a character of narrow and of wide script, and for an image; the output as so much for every request and for
an input token (a translation grows with its text, a label does not). Each reply moves the weights a little in
the direction of its error. Nothing here knows what a character is, or which model answers: use one
estimator for each endpoint and model.
"""

from math import sqrt

from arkbatch.core.records import Size, Usage

# Seed models: 0.25 to 0.3 tokens a Latin letter, 0.5 to 0.67 a Chinese character, 30 to 75 around each request.
OVERHEAD, NARROW, WIDE, PART = 40.0, 0.3, 0.65, 1000.0
OUTPUT_PER_ROW = 400.0
OUTPUT_PER_INPUT_TOKEN = 0.05

# How far one reply moves the weights. What a text weighs is nearly fixed, so a quarter of the error is taken in; how
# long an answer is varies, so it is a mean of all at first and of some last dozens later, which follows the input.
INPUT_STEP = 0.25
OUTPUT_MEMORY = 64


class Estimator:
    """Tokens of a request before it is sent. Input is the expected value, output a little more.

    Steps are in proportion to each weight's share in the sum (normalised least mean squares on the shares), so
    that a long text teaches the tokens a character and a short one the overhead, and no weight changes its sign.
    Output is reserved one standard error above its mean: far above while little is known, then a tenth of the
    spread. More would leave allowance unused in the time until a call settles.
    """

    __slots__ = ("_margin", "_narrow", "_output", "_overhead", "_part", "_replies", "_share", "_spread", "_wide")

    def __init__(self, output_per_row: float = OUTPUT_PER_ROW) -> None:
        """`output_per_row`: the first guess; 0 for an endpoint that generates nothing."""
        self._overhead, self._narrow, self._wide, self._part = OVERHEAD, NARROW, WIDE, PART
        self._output = output_per_row
        self._share = OUTPUT_PER_INPUT_TOKEN if output_per_row else 0.0
        self._spread = 0.0
        self._margin = 0.0
        self._replies = 0

    def estimate(self, size: Size) -> tuple[int, int]:
        """Input and output tokens to reserve; the output is never above the request's own ceiling."""
        tokens = self._input(size)
        output = int(self._output + self._share * tokens + self._margin) + 1 if self._output else 0
        if size.ceiling is not None and output > size.ceiling:
            output = size.ceiling
        return int(tokens) + 1, output

    def learn(self, size: Size, usage: Usage) -> None:
        """Take in the true usage of one call; one without input tokens (not billed, not told) teaches nothing."""
        true_input = usage.get("input", 0)
        if true_input <= 0:
            return
        self._replies += 1
        self._learn_input(size, true_input)
        if self._output:
            self._learn_output(true_input, usage.get("output", 0))

    def _input(self, size: Size) -> float:
        return self._overhead + self._narrow * size.narrow + self._wide * size.wide + self._part * size.parts

    def _learn_input(self, size: Size, truth: int) -> None:
        overhead = self._overhead
        narrow, wide, part = self._narrow * size.narrow, self._wide * size.wide, self._part * size.parts
        error = truth - (overhead + narrow + wide + part)
        squares = overhead * overhead + narrow * narrow + wide * wide + part * part + 1.0
        step = INPUT_STEP * error / squares
        # No factor is under 1/4, here and below: (sum of terms) x term / squares is 3/2 at most, and half of it is taken.
        self._overhead = overhead * (1 + step * overhead)
        self._narrow *= 1 + step * narrow
        self._wide *= 1 + step * wide
        self._part *= 1 + step * part

    def _learn_output(self, tokens: int, truth: int) -> None:
        by_row, by_input = self._output, self._share * tokens
        memory = min(self._replies + 1, OUTPUT_MEMORY)
        error = truth - (by_row + by_input)
        step = error / ((by_row * by_row + by_input * by_input + 1.0) * memory)
        self._output = by_row * (1 + step * by_row)
        self._share *= 1 + step * by_input
        self._spread += (abs(error) - self._spread) / memory
        self._margin = self._spread / sqrt(min(self._replies, 100))
