"""A growing set of row numbers at one bit each.

Ten million rows take 1.2 MiB; a set of ints would take 600.
"""


class Bitmap:
    """A set of row numbers that knows how many it contains."""

    __slots__ = ("_bits", "count")

    def __init__(self, data: bytes = b"") -> None:
        self._bits = bytearray(data)
        self.count = int.from_bytes(data, "little").bit_count()

    def __contains__(self, number: int) -> bool:
        index = number >> 3
        return index < len(self._bits) and self._bits[index] & 1 << (number & 7) != 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bitmap) and bytes(self).rstrip(b"\0") == bytes(other).rstrip(b"\0")

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __bytes__(self) -> bytes:
        return bytes(self._bits)

    def add(self, number: int) -> None:
        index, bit = number >> 3, 1 << (number & 7)
        if index >= len(self._bits):
            # Growing by an eighth keeps the copying linear over a run without wasting memory.
            self._bits.extend(bytes(index + 1 - len(self._bits) + (index >> 3)))
        if not self._bits[index] & bit:
            self._bits[index] |= bit
            self.count += 1

    def absorb(self, other: "Bitmap", shift: int) -> None:
        """Add the numbers of another set, each greater by `shift`; none of them may be in this set."""
        begin, rest = divmod(shift, 8)
        added = int.from_bytes(bytes(other), "little") << rest
        end = begin + -(-added.bit_length() // 8)
        self._bits.extend(bytes(max(0, end - len(self._bits))))
        both = int.from_bytes(self._bits[begin:end], "little") | added
        self._bits[begin:end] = both.to_bytes(end - begin, "little")
        self.count += other.count

    def count_until(self, last: int) -> int:
        """Return how many numbers up to this one are in the set."""
        whole, rest = divmod(last + 1, 8)
        part = self._bits[whole] & (1 << rest) - 1 if whole < len(self._bits) else 0
        return int.from_bytes(self._bits[:whole], "little").bit_count() + part.bit_count()

    def discard(self, number: int) -> None:
        if number in self:
            self._bits[number >> 3] ^= 1 << (number & 7)
            self.count -= 1
