"""How many tokens a request will cost, learned from what the earlier ones did cost.

No public tokenizer fits these models, so the input is taken as a sum of four things: so much for every request,
for a character of narrow and of wide script, and for an image. The output is taken to lie on a line over the input:
a translation grows with its text, a label does not. Nothing here knows what a character is, or which model
answers: use one estimator for each endpoint and model.
"""

import math

from arkbatch.core.row import Size
from arkbatch.core.usage import Usage
from arkbatch.limits.token_split import Tokens

# Seed models: 0.25 to 0.3 tokens a Latin letter, 0.5 to 0.67 a Chinese character, 30 to 75 around each request.
OVERHEAD, NARROW, WIDE, PART = 40.0, 0.3, 0.65, 1000.0
OUTPUT = 400.0

# What a text weighs hardly varies, so a quarter of each error is taken in. How long an answer is does vary: its line
# is of all replies at first, of some last dozens later, so that it follows an input that changes on the way.
INPUT_STEP = 0.25
OUTPUT_MEMORY = 64

# To learn from each of thousands of replies a second takes more time than it is worth.
ALWAYS_LEARNED = 200  # replies at the beginning
LESSONS_PER_SECOND = 100


def by_characters(size: Size) -> float:
    """The first guess at the input tokens of a request without the overhead."""
    return NARROW * size.narrow + WIDE * size.wide + PART * size.parts


class Estimator:
    """Tokens of a request before it is sent: the input that is expected, and a little more than the output.

    Input learns by normalised least mean squares, in steps that go with each weight's share in the sum, so that a long
    text teaches the tokens a character and a short one the overhead, and no weight changes its sign. Output keeps
    means, variance and covariance that fade. It is reserved one standard error above the line: far above while
    little is known, then a tenth of the spread. More would leave allowance unused until a call settles.
    """

    __slots__ = (
        "_covariance",
        "_input_mean",
        "_margin",
        "_narrow",
        "_output_mean",
        "_overhead",
        "_part",
        "_replies",
        "_slope",
        "_spread",
        "_variance",
        "_wide",
        "learns_again_at",
    )

    def __init__(self, output: float = OUTPUT) -> None:
        """`output`: the first guess, in tokens a request; 0 for an endpoint that generates nothing."""
        self._overhead, self._narrow, self._wide, self._part = OVERHEAD, NARROW, WIDE, PART
        self._output_mean = output
        self._input_mean = self._variance = self._covariance = self._slope = 0.0
        self._spread = self._margin = 0.0
        self._replies = 0
        self.learns_again_at = -math.inf  # the time before which further replies need not be learned from

    def estimate_tokens(self, size: Size) -> Tokens:
        """The tokens to reserve; the output is never above the request's own ceiling."""
        tokens = self._overhead + self._narrow * size.narrow + self._wide * size.wide + self._part * size.parts
        output = int(self._output_for(tokens) + self._margin + 0.5)
        if size.ceiling is not None and output > size.ceiling:
            output = size.ceiling
        return Tokens(int(tokens) + 1 + output, int(tokens) + 1)

    def learn_usage(self, size: Size, usage: Usage, now: float = -math.inf) -> None:
        """Take in the true usage of one call; one without input tokens (not billed, not told) teaches nothing."""
        true_input = usage.get("input", 0)
        if true_input > 0:
            self._replies += 1
            self._learn_input(size, true_input)
            self._learn_output(true_input, usage.get("output", 0))
            if self._replies > ALWAYS_LEARNED:
                self.learns_again_at = now + 1 / LESSONS_PER_SECOND

    def _output_for(self, tokens: float) -> float:
        output = self._output_mean + self._slope * (tokens - self._input_mean)
        return output if output > 0 else 0.0

    def _learn_input(self, size: Size, truth: int) -> None:
        overhead = self._overhead
        narrow, wide, part = self._narrow * size.narrow, self._wide * size.wide, self._part * size.parts
        error = truth - (overhead + narrow + wide + part)
        step = INPUT_STEP * error / (overhead * overhead + narrow * narrow + wide * wide + part * part + 1.0)
        # No factor is under 1/2: (sum of the terms) x term / squares is 3/2 at most, and a quarter of it is taken.
        self._overhead = overhead * (1 + step * overhead)
        self._narrow *= 1 + step * narrow
        self._wide *= 1 + step * wide
        self._part *= 1 + step * part

    def _learn_output(self, tokens: int, truth: int) -> None:
        fresh = 1 / min(self._replies, OUTPUT_MEMORY)
        self._spread += (abs(truth - self._output_for(tokens)) - self._spread) * fresh
        self._margin = self._spread / math.sqrt(min(self._replies, 100))
        across, up = tokens - self._input_mean, truth - self._output_mean
        self._input_mean += across * fresh
        self._output_mean += up * fresh
        self._variance += (across * across * (1 - fresh) - self._variance) * fresh
        self._covariance += (across * up * (1 - fresh) - self._covariance) * fresh
        # Answers that shrink where the text grows are chance.
        self._slope = self._covariance / self._variance if self._covariance > 0 else 0.0
