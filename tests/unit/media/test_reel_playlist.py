"""Where the segments of a reel are on its timeline, and the playlist that names them."""

from fractions import Fraction

import pytest

from builders import make_reel
from phoenix.contract import ResolvedExtension, SpokenWord, Transition
from phoenix.media.captions.cues import cues_of_clip, plan_cues
from phoenix.media.commands.video import Picture
from phoenix.media.reel.playlist import (
    PictureStream,
    SegmentedFile,
    peak_of,
    render_captions,
    render_multivariant,
    render_playlist,
)
from phoenix.media.reel.spans import PACKET_SAMPLES, ReelTimeline, SpanSource, plan_timeline, span_of_clip

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


def test_a_reel_with_captions_has_a_playlist_of_two_renditions() -> None:
    stream = PictureStream(640, 360, 24, peak_of([FILE], 24))

    lines = render_multivariant("video", "captions", stream, is_shown=True).splitlines()

    subtitles = 'TYPE=SUBTITLES,GROUP-ID="captions",NAME="Captions",DEFAULT=YES,AUTOSELECT=YES,FORCED=NO'
    assert lines[3:] == [
        f'#EXT-X-MEDIA:{subtitles},URI="captions"',
        '#EXT-X-STREAM-INF:BANDWIDTH=8000,RESOLUTION=640x360,FRAME-RATE=24.000,SUBTITLES="captions"',
        "video",
    ]


def test_the_captions_of_a_clip_are_one_segment_and_the_longest_clip_is_known_beforehand() -> None:
    text = render_captions([2.5, 3.0], ["a", "b"], longest_s=7.2, is_over=False)

    assert "#EXT-X-TARGETDURATION:8\n" in text
    assert text.splitlines()[5:] == ["#EXTINF:2.500000,", "a", "#EXTINF:3.000000,", "b"]
    assert render_captions([], [], longest_s=1, is_over=True).endswith("#EXT-X-ENDLIST\n")


@pytest.mark.parametrize("transition", [CUT, FADE])
def test_every_cue_is_in_the_segment_in_which_it_begins(transition: Transition) -> None:
    reel = make_reel("one", "two", "three").model_copy(update={"transition": transition})
    clips = [clip.model_copy(update={"caption": f"clip {clip.index}"}) for clip in reel.clips]
    reel = reel.model_copy(update={"clips": clips})

    cues = [cues_of_clip(reel, {}, index) for index in range(3)]

    assert [[cue.text for cue in each] for each in cues] == [["clip 0"], ["clip 1"], ["clip 2"]]
    assert [cue for each in cues for cue in each] == plan_cues(reel, {})


def test_the_words_of_a_narration_are_in_the_segment_of_its_clip() -> None:
    reel = make_reel("one", "two")
    clips = [clip.model_copy(update={"narration": f"clip {clip.index}"}) for clip in reel.clips]
    reel = reel.model_copy(update={"clips": clips})
    spoken = {0: [SpokenWord(text="first", start_s=0.1, end_s=0.4)], 1: [SpokenWord(text="next", start_s=0, end_s=0.3)]}

    assert [cue.text for cue in cues_of_clip(reel, spoken, 0)] == ["first"]
    assert [cue.text for cue in cues_of_clip(reel, spoken, 1)] == ["next"]
