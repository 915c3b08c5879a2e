"""Where the segments of a reel are on its timeline, and the playlist that names them."""

from fractions import Fraction

import pytest

from builders import make_reel
from phoenix.contract import ResolvedExtension, Transition
from phoenix.media.commands.video import Picture
from phoenix.media.reel.playlist import SegmentedFile, render_playlist
from phoenix.media.reel.segments import PACKET_SAMPLES, ReelTimeline, SpanSource, plan_timeline, span_of_clip

PICTURE = Picture(64, 36, Fraction(24))
CUT, FADE = Transition(kind="cut"), Transition(kind="crossfade", duration_s=0.5)
FILE = SegmentedFile(100, "a", (1000, 500), (48, 12))


def spans_of(timeline: ReelTimeline) -> list[tuple[int, int]]:
    spans = [timeline.span_of(range(part, part + 1)) for part in range(len(timeline.counts))]
    return [(span.start, span.end) for span in spans]


@pytest.mark.parametrize(
    ("transition", "spans"), [(CUT, [(0, 72), (72, 132), (132, 180)]), (FADE, [(0, 60), (60, 108), (108, 156)])]
)
def test_the_spans_of_all_clips_follow_each_other(transition: Transition, spans: list[tuple[int, int]]) -> None:
    assert spans_of(plan_timeline([72, 60, 48], transition, PICTURE)) == spans


def test_a_clip_keeps_back_what_it_shares_with_the_next_one() -> None:
    span = plan_timeline([72, 60], FADE, PICTURE).span_of(range(1))

    assert (span.sources, span.overlaps, span.is_last) == ((SpanSource(0, 0, 60),), (), False)


def test_a_clip_begins_with_the_crossfade_from_the_one_before() -> None:
    span = plan_timeline([72, 60], FADE, PICTURE).span_of(range(1, 2))

    assert (span.sources, span.overlaps) == ((SpanSource(0, 60, 72), SpanSource(1, 0, 60)), (12,))
    assert span.is_last


@pytest.mark.parametrize("transition", [CUT, FADE])
def test_every_packet_of_sound_is_in_one_span(transition: Transition) -> None:
    timeline = plan_timeline([72, 3, 48], transition, PICTURE)
    spans = [timeline.span_of(range(part, part + 1)) for part in range(3)]

    packets = [packet for span in spans for packet in timeline.packets_of(span)]

    total = timeline.sample_at(spans[-1].end)
    assert packets == list(range(-(-total // PACKET_SAMPLES)))


def test_the_encoder_hears_no_part_that_is_not_there_yet() -> None:
    timeline = plan_timeline([72, 2, 1, 48], CUT, PICTURE)

    heard = [timeline.parts_heard(timeline.span_of(range(part, part + 1))) for part in range(4)]

    # Of clips that are shorter than what the encoder hears, it hears several.
    assert heard == [range(1), range(2), range(3), range(1, 4)]


def test_a_reel_that_extends_a_clip_begins_with_it() -> None:
    extended = ResolvedExtension(job_id="j", clip_index=0, artifact_id="a", duration_s=2.0)
    reel = make_reel("one", "two").model_copy(update={"extends": extended})

    first, second = span_of_clip(reel, 0), span_of_clip(reel, 1)

    assert [source.part for source in first.sources] == [0, 1]
    assert (first.start, first.end, second.start) == (0, 3 * reel.fps, 3 * reel.fps)


def test_a_playlist_names_the_header_once_and_every_segment_by_its_bytes() -> None:
    text = render_playlist([FILE, FILE], ["a", "b"], fps=24, is_over=False)

    assert text.splitlines()[7:] == [
        '#EXT-X-MAP:URI="a",BYTERANGE="100@0"',
        *("#EXTINF:2.000000,", "#EXT-X-BYTERANGE:1000@100", "a"),
        *("#EXTINF:0.500000,", "#EXT-X-BYTERANGE:500@1100", "a"),
        *("#EXTINF:2.000000,", "#EXT-X-BYTERANGE:1000@100", "b"),
        *("#EXTINF:0.500000,", "#EXT-X-BYTERANGE:500@1100", "b"),
    ]


def test_a_player_begins_at_the_start_of_a_playlist_that_may_grow() -> None:
    text = render_playlist([], [], fps=24, is_over=False)

    assert "#EXT-X-START:TIME-OFFSET=0,PRECISE=YES" in text
    assert "#EXT-X-PLAYLIST-TYPE:EVENT" in text
    assert "#EXT-X-ENDLIST" not in text


def test_a_playlist_that_is_over_says_so() -> None:
    assert render_playlist([FILE], ["a"], fps=24, is_over=True).endswith("a\n#EXT-X-ENDLIST\n")


def test_a_file_of_another_encoder_begins_anew() -> None:
    other = SegmentedFile(90, "b", (1000,), (48,))

    text = render_playlist([FILE, other], ["a", "b"], fps=24, is_over=False)

    assert '#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI="b",BYTERANGE="90@0"\n' in text
