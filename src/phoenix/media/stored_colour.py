"""Decides how the colours of a file are read: by its tags, or by the usual rule for a file without tags. Pure.

`commands.colour` converts them.
"""

from dataclasses import dataclass

_BT709, _UNSTATED = 1, 2
_PQ, _HLG = 16, 18
# Names of ITU-T H.273 that ffmpeg can convert. A file with another matrix is read as if it stated none.
_MATRICES = {
    1: "bt709",
    4: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    7: "smpte240m",
    9: "bt2020nc",
    10: "bt2020nc",
}
# Only these are far from BT.709. Most players show the primaries of BT.601 without a conversion.
_WIDE_PRIMARIES = {9: "bt2020", 11: "smpte431", 12: "smpte432"}
_HDR_TRANSFERS = {_PQ: "smpte2084", _HLG: "arib-std-b67"}


@dataclass(frozen=True)
class StoredColour:
    """How the pictures of a video are stored. `height_px` is the coded height.

    `matrix`, `transfer` and `primaries` are numbers of ITU-T H.273, 2 if the file states none. `decoder` is the
    decoder of ffmpeg that reads the transparency, if the usual decoder ignores it.
    """

    matrix: int = _BT709
    transfer: int = _BT709
    primaries: int = _BT709
    height_px: int = 720
    is_full_range: bool = False
    is_rgb: bool = False
    has_alpha: bool = False
    is_interlaced: bool = False
    decoder: str | None = None

    @property
    def is_hdr(self) -> bool:
        return self.transfer in _HDR_TRANSFERS

    @property
    def can_be_copied(self) -> bool:
        """Whether players show the stored pictures as the encoder of Phoenix would store them.

        A file without tags may be copied: a player guesses for the copy what it guesses for the file.
        """
        is_plain = not (self.is_full_range or self.is_rgb or self.has_alpha or self.is_interlaced)
        return is_plain and {self.matrix, self.transfer, self.primaries} <= {_BT709, _UNSTATED}

    @property
    def matrix_name(self) -> str:
        """The stated matrix. If none is stated: BT.2020 for HDR, BT.709 for HD and BT.601 for SD, as browsers guess."""
        if self.is_rgb:
            return "gbr"
        guessed = "bt2020nc" if self.is_hdr else "bt709" if self.height_px >= 720 else "smpte170m"
        return _MATRICES.get(self.matrix, guessed)

    @property
    def transfer_name(self) -> str:
        """PQ, HLG, or BT.709: players show the other transfers of SDR alike."""
        return _HDR_TRANSFERS.get(self.transfer, "bt709")

    @property
    def primaries_name(self) -> str:
        guessed = "bt2020" if self.is_hdr and self.primaries == _UNSTATED else "bt709"
        return _WIDE_PRIMARIES.get(self.primaries, guessed)


BT709 = StoredColour()
