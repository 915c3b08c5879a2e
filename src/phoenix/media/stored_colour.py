"""Decides how the colours of a file are read: by its tags, or by the usual rule for a file without tags. Pure.

`commands.colour` converts them.
"""

from dataclasses import dataclass

_BT709, _UNSTATED = 1, 2
_PQ, _HLG = 16, 18
_FCC, _SMPTE240M, _YCGCO, _BT2020_CONSTANT, _DERIVED, _DERIVED_CONSTANT, _ICTCP = 4, 7, 8, 10, 12, 13, 14
# The matrices of ITU-T H.273 that the filter `scale` converts, by their names in ffmpeg.
_SCALED_MATRICES = {
    1: "bt709",
    _FCC: "fcc",
    5: "bt470bg",
    6: "smpte170m",
    _SMPTE240M: "smpte240m",
    9: "bt2020nc",
}
# Only the filter `zscale` converts these.
_OTHER_MATRICES = {
    _YCGCO: "ycgco",
    _BT2020_CONSTANT: "bt2020c",
    _DERIVED: "chroma-derived-nc",
    _DERIVED_CONSTANT: "chroma-derived-c",
    _ICTCP: "ictcp",
}
# No filter converts these. A number without a meaning is read as if none was stated.
_UNKNOWN_MATRICES = {11: "YDzDx", 15: "IPT-C2", 16: "YCgCo-Re", 17: "YCgCo-Ro"}
_PRIMARIES_TO_DERIVE_FROM = (_BT709, _UNSTATED, 9, 11, 12)
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
        """Whether the pictures are stored as the encoder of Phoenix would store them. Their tags may be missing."""
        is_plain = not (self.is_full_range or self.is_rgb or self.has_alpha or self.is_interlaced)
        is_bt709 = {self.matrix, self.transfer, self.primaries} <= {_BT709, _UNSTATED} and self.matrix_name == "bt709"
        return is_plain and is_bt709

    @property
    def is_tagged_bt709(self) -> bool:
        return {self.matrix, self.transfer, self.primaries} == {_BT709}

    @property
    def matrix_name(self) -> str:
        """The stated matrix. If none is stated: BT.2020 for HDR, BT.709 for HD and BT.601 for SD, as browsers guess."""
        if self.is_rgb:
            return "gbr"
        guessed = "bt2020nc" if self.is_hdr else "bt709" if self.height_px >= 720 else "smpte170m"
        return (_SCALED_MATRICES | _OTHER_MATRICES).get(self.matrix, guessed)

    @property
    def scaled_matrix_name(self) -> str:
        """The matrix, or BT.709 in place of a matrix that the filter `scale` does not know."""
        return self.matrix_name if self.is_rgb or self.matrix not in _OTHER_MATRICES else "bt709"

    @property
    def needs_zscale(self) -> bool:
        """Whether the filter `scale`, which is faster, cannot convert the pictures."""
        is_known = self.is_rgb or self.matrix not in _OTHER_MATRICES
        return not is_known or self.is_hdr or self.primaries_name != "bt709"

    @property
    def unconvertible(self) -> str | None:
        """The name of the matrix, if ffmpeg has no right conversion. None if the pictures can be read."""
        if self.is_rgb:
            return None
        if self.matrix in _UNKNOWN_MATRICES:
            return _UNKNOWN_MATRICES[self.matrix]
        # As tried with every transfer and all primaries: `zscale` has no way, or a wrong one, from the others.
        is_convertible = {
            _SMPTE240M: not self.needs_zscale,
            _BT2020_CONSTANT: not self.is_hdr,
            _DERIVED: self.primaries in _PRIMARIES_TO_DERIVE_FROM,
            _DERIVED_CONSTANT: not self.is_hdr and self.primaries in _PRIMARIES_TO_DERIVE_FROM,
            _ICTCP: self.is_hdr and self.primaries_name == "bt2020",
        }.get(self.matrix, True)
        has_way = is_convertible and not (self.has_alpha and self.matrix in _OTHER_MATRICES)
        return None if has_way else self.matrix_name

    @property
    def transfer_name(self) -> str:
        """PQ, HLG, or BT.709: players show the other transfers of SDR alike."""
        return _HDR_TRANSFERS.get(self.transfer, "bt709")

    @property
    def primaries_name(self) -> str:
        guessed = "bt2020" if self.is_hdr and self.primaries == _UNSTATED else "bt709"
        return _WIDE_PRIMARIES.get(self.primaries, guessed)


BT709 = StoredColour()
