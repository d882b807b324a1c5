"""The platforms and job profiles of the literature: three processors, and an open radio SoC.

The numbers of `top3` and its jobs are those that SoCRATES and DS3Gym ship (MIT licence; top1 is
the example of Topcuoglu et al., "Performance-effective and low-complexity task scheduling for
heterogeneous computing", IEEE TPDS 2002); those of `bal16` and `bal8` are facts of the DS3
simulator's configuration (Arda et al., "DS3: A System-Level Domain-Specific System-on-Chip
Simulation Framework", IEEE TC 2020). Pulse Doppler is in that paper only: its edge volumes, and
the times of its first, middle and last task, are reconstructed.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

import numpy as np

from dispatchgym.envs.core.errors import InstanceError
from dispatchgym.envs.core.scenario import unknown_name
from dispatchgym.envs.soc.instance import UNSUPPORTED, Cluster, JobProfile, Platform

__all__ = ["PLATFORMS", "PROFILES", "platform", "profile"]

_NO = UNSUPPORTED

# ---------------------------------------------------------------- platforms

_BIG_OPP = (
    (600, 900), (800, 950), (1000, 1000), (1200, 1037), (1400, 1100), (1600, 1175), (1800, 1300),
    (2000, 1362),
)  # fmt: skip
_A7 = Cluster(
    "A7",
    "LTL",
    opp=((600, 1000), (800, 1075), (1000, 1150), (1200, 1250), (1400, 1300)),
    trip_mhz=(-1, 1200, 600),
    dtpm_trip_mhz=(1200, 1000, 600),
    power_w={1000: (0.19, 0.29, 0.35, 0.40), 1400: (0.39, 0.59, 0.72, 0.81)},
    gated_power_w={1000: (0.13, 0.23, 0.31, 0.40), 1400: (0.27, 0.46, 0.63, 0.81)},
)


def _a15(dtpm_trip_mhz: tuple[int, int, int]) -> Cluster:
    return Cluster(
        "A15",
        "BIG",
        opp=_BIG_OPP,
        trip_mhz=(1600, 1000, 600),
        dtpm_trip_mhz=dtpm_trip_mhz,
        power_w={1000: (0.85, 1.30, 1.58, 1.78), 2000: (3.32, 5.05, 6.15, 6.91)},
        gated_power_w={1000: (0.59, 0.96, 1.35, 1.78), 2000: (2.29, 3.73, 5.23, 6.91)},
    )


def _fixed(name: str, kind: str, watts: tuple[float, ...]) -> Cluster:
    """Return a cluster with a single operating point."""
    power = {1000: watts}
    return Cluster(
        name, kind, ((1000, 900),), (-1, -1, -1), power_w=power, gated_power_w=power
    )  # fmt: skip


_CLUSTERS = {
    "top3": tuple(Cluster(f"P{number}", "CPU", opp=_BIG_OPP) for number in (1, 2, 3)),
    "ds3_top3": tuple(_fixed(f"P{n}", f"CPU{n}", (0.05885,)) for n in (1, 2, 3)),
    "bal16": (
        _A7,
        _a15((1200, 1000, 600)),
        _fixed("MM", "ACC_1", (0.05, 0.1)),
        _fixed("FFT", "ACC_2", (0.0913, 0.1826, 0.2739, 0.3652)),
        _fixed("VIT", "ACC_3", (0.05885, 0.1177)),
    ),
    "bal8": (_A7, _a15((1000, 800, 600))),
}
_CORES = {"top3": (1, 1, 1), "ds3_top3": (1, 1, 1), "bal16": (4, 4, 2, 4, 2), "bal8": (4, 4)}

PLATFORMS = tuple(_CLUSTERS)
"""Names of the platforms that `platform` knows."""

_TOP_TIMES = (
    (14, 16, 9), (13, 19, 18), (11, 13, 19), (13, 8, 17), (12, 13, 10), (13, 16, 9), (7, 15, 11),
    (5, 11, 14), (18, 12, 20), (21, 7, 16),
)  # fmt: skip

# Times on A7, A15, MM, FFT and VIT; "_k" stands for _1 to _5.
_RADIO_TIMES = {
    "scrambler_encoder": (22, 10, _NO, _NO, _NO),
    "interleaver_k": (10, 4, _NO, _NO, _NO),
    "qpsk_k": (15, 8, _NO, _NO, _NO),
    "pilot_insertion_k": (5, 3, _NO, _NO, _NO),
    "ifft_k": (296, 118, _NO, 16, _NO),
    "crc_k": (5, 3, _NO, _NO, _NO),
    "end": (0, 0, _NO, _NO, _NO),
    "match_filter": (16, 5, _NO, _NO, _NO),
    "payload_extraction_k": (8, 4, _NO, _NO, _NO),
    "fft_k": (289, 114, _NO, 12, _NO),
    "pilot_k": (6, 4, _NO, _NO, _NO),
    "qpsk_demodulation_k": (191, 95, _NO, _NO, _NO),
    "deinterleaver_k": (16, 9, _NO, _NO, _NO),
    "format_conversion_k": (7, 4, _NO, _NO, _NO),
    "viterbi_decoder": (1828, 739, _NO, _NO, 2),
    "descrambler": (3, 2, _NO, _NO, _NO),
    "message_decode": (90, 39, _NO, _NO, _NO),
    "ST": (0, 0, _NO, _NO, _NO),
    "LFM": (90, 60, _NO, _NO, _NO),
    "xcorr_fft0": (150, 60, _NO, 30, _NO),
    "xcorr_fft1": (150, 60, _NO, 30, _NO),
    "xcorr_vector_complex_conj_mul": (75, 6, _NO, _NO, _NO),
    "xcorr_ifft": (150, 60, _NO, 30, _NO),
    "max_detect": (20, 20, _NO, _NO, _NO),
    "scrambler": (6, 2, _NO, _NO, _NO),
    "viterbi_encoder": (31, 9, _NO, _NO, _NO),
    "viterbi_puncturing": (6, 3, _NO, _NO, _NO),
    "interleaver": (10, 3, _NO, _NO, _NO),
    "qpsk_modulation": (27, 8, _NO, _NO, _NO),
    "crc": (5, 2, _NO, _NO, _NO),
    "upsampling": (42, 9, _NO, _NO, _NO),
    "fir_filter": (30, 20, _NO, _NO, _NO),
    "match_correlation": (30, 20, _NO, _NO, _NO),
    "filter": (30, 20, _NO, _NO, _NO),
    "payload_extraction": (14, 3, _NO, _NO, _NO),
    "qpsk_demodulation": (240, 96, _NO, _NO, _NO),
    "deinterleaver": (20, 7, _NO, _NO, _NO),
    "viterbi_depuncturing": (5, 3, _NO, _NO, _NO),
    "start_task": (0, 0, _NO, _NO, _NO),
    "message_signal": (0, 0, _NO, _NO, _NO),
    "cover_signal": (0, 0, _NO, _NO, _NO),
    "CMM_1": (240, 54, 22, _NO, _NO),
    "hermitian_opt": (23, 6, _NO, _NO, _NO),
    "CMM_2": (240, 54, 22, _NO, _NO),
    "matrix_opts": (25, 8, _NO, _NO, _NO),
    "matrix_multiplication": (17, 5, _NO, _NO, _NO),
    "CMM_3": (210, 44, 22, _NO, _NO),
    "matrix_subtraction": (72, 16, _NO, _NO, _NO),
    "pd_start": (0, 0, _NO, _NO, _NO),
    "pd_fft_a": (35, 15, _NO, 6, _NO),
    "pd_fft_b": (35, 15, _NO, 6, _NO),
    "pd_vecmul": (100, 35, _NO, _NO, _NO),
    "pd_ifft": (35, 15, _NO, 6, _NO),
    "pd_realign": (0, 0, _NO, _NO, _NO),
    "pd_fft_c": (35, 15, _NO, 6, _NO),
    "pd_amp": (70, 40, _NO, _NO, _NO),
    "pd_fftshift": (7, 3, _NO, _NO, _NO),
    "pd_max": (0, 0, _NO, _NO, _NO),
}
_BAL8_TIMES = {
    "fir_filter": (6468, 1393),
    "match_correlation": (4997, 1133),
    "filter": (7033, 1561),
}


@cache
def platform(name: str) -> Platform:
    """Return the platform of a name of `PLATFORMS`.

    Raises:
        InstanceError: there is none; the message has the closest names.
    """
    if name not in _CLUSTERS:
        raise InstanceError(unknown_name("platform", name, PLATFORMS))
    clusters, cores = _CLUSTERS[name], _CORES[name]
    pe_cluster = np.repeat(np.arange(len(cores)), cores)
    times = _times(name)
    return Platform(
        name=name,
        pe_names=tuple(_pe_name(name, clusters[at], pe) for pe, at in enumerate(pe_cluster)),
        clusters=clusters,
        pe_cluster=pe_cluster,
        bandwidth=_bandwidth(name, pe_cluster),
        memory_bandwidth=np.full(len(pe_cluster), 2.0 if "top" in name else 1000.0),
        task_names=tuple(times),
        duration=np.array([np.asarray(row)[pe_cluster] for row in times.values()]),
    )


def _pe_name(name: str, cluster: Cluster, pe: int) -> str:
    return cluster.name if name == "top3" else f"{cluster.name}_{pe}"


def _times(name: str) -> dict[str, tuple[int, ...]]:
    """Return task -> time on each cluster."""
    if "top" in name:
        return {f"task_{number}": row for number, row in enumerate(_TOP_TIMES, 1)}
    times: dict[str, tuple[int, ...]] = {}
    for task, row in _RADIO_TIMES.items():
        names = [f"{task[:-1]}{k}" for k in range(1, 6)] if task.endswith("_k") else [task]
        times |= dict.fromkeys(names, row)
    return times | _BAL8_TIMES if name == "bal8" else times


def _bandwidth(name: str, pe_cluster: np.ndarray) -> np.ndarray:
    """Return the bandwidths between processing elements; one to itself is the diagonal."""
    if "top" in name:
        bandwidth = np.ones((3, 3))
        np.fill_diagonal(bandwidth, 100.0 if name == "top3" else 10_000.0)
        return bandwidth
    bandwidth = np.full((len(pe_cluster), len(pe_cluster)), 1000.0)
    fft, others = pe_cluster == 3, pe_cluster < 3
    bandwidth[np.ix_(fft, others)] = bandwidth[np.ix_(others, fft)] = 10.0
    np.fill_diagonal(bandwidth, 10_000.0)
    return bandwidth


# ---------------------------------------------------------------- job profiles

_Edges = list[tuple[int, int, int]]

_TOP_EDGES = {
    "top1": "0-1:18 0-2:12 0-3:9 0-4:11 0-5:14 1-7:19 1-8:16 2-6:23 3-7:27 3-8:23 4-8:13 5-7:15 "
            "6-9:17 7-9:11 8-9:13",
    "top2": "0-1:18 0-2:12 0-3:9 0-4:11 1-5:14 1-6:19 2-5:16 3-6:23 3-7:27 4-7:23 5-8:13 6-8:15 "
            "7-9:11 8-9:13",
    "top3": "0-1:18 0-2:12 0-3:9 0-4:11 1-5:14 2-6:19 3-5:16 4-6:23 5-7:27 6-8:23 7-9:13 8-9:15",
    "top4": "0-1:18 0-2:12 1-4:9 1-6:11 2-3:14 2-5:19 2-6:16 3-7:23 4-7:27 5-8:13 6-7:23 7-9:15 "
            "8-9:17",
    "top5": "0-1:18 0-2:12 0-3:9 2-4:11 1-5:14 3-5:19 2-6:16 1-7:23 3-7:27 4-8:23 5-8:13 6-9:15 "
            "7-9:17 8-9:11",
    "top6": "0-1:18 0-2:12 1-3:9 2-4:11 1-5:14 2-5:19 2-6:16 2-7:23 2-8:27 3-9:23 4-9:19 5-9:16 "
            "6-9:23 7-9:27 8-9:23",
    "top7": "0-1:18 0-2:12 0-3:9 0-4:11 1-5:14 3-6:19 1-7:16 2-7:23 2-8:27 4-8:23 5-9:17 6-9:11 "
            "7-9:13 8-9:18",
    "top8": "0-1:18 0-2:12 0-3:9 0-4:11 0-5:14 0-6:19 2-7:16 1-8:23 3-8:27 4-9:23 5-9:13 6-9:15 "
            "7-9:17 8-9:11",
    "top9": "0-1:18 0-2:12 0-3:9 0-4:11 0-5:14 3-6:19 1-7:16 3-7:23 2-8:27 5-8:23 4-9:13 6-9:15 "
            "7-9:17 8-9:11",
    "top10": "0-1:18 0-2:12 0-3:9 0-4:11 1-5:14 2-5:19 1-6:16 4-6:23 3-7:27 4-7:23 4-8:13 5-9:15 "
             "6-9:17 7-9:11 8-9:13",
}  # fmt: skip
_RANGE_DETECTION = "0-1:1 1-2:1 0-3:1 3-4:150 2-4:150 4-5:1 5-6:150"
_TEMPORAL_MITIGATION = "0-1:1 0-2:1 1-3:1 1-4:1 3-4:1 2-5:1 3-5:1 4-6:1 5-7:1 6-7:1 7-8:1 8-9:1"

# Proven latency of one job alone, empty platform.
_OPTIMA = {
    "top3": dict(
        zip(_TOP_EDGES, (73, 81, 80, 87, 85, 80, 72, 65, 72, 74), strict=True)
    ),
    "bal16": {
        "wifi_tx": 69, "wifi_rx": 288, "range_detection": 176, "sc_tx": 56, "sc_rx": 153,
        "temporal_mitigation": 79,
    },
    "bal8": {
        "wifi_tx": 264, "wifi_rx": 1129, "range_detection": 206, "sc_tx": 1429, "sc_rx": 3544,
        "temporal_mitigation": 133,
    },
}  # fmt: skip


def _edges(text: str) -> _Edges:
    """Read edges written ``source-target:volume``."""
    parts = (entry.replace(":", "-").split("-") for entry in text.split())
    return [(int(source), int(target), int(volume)) for source, target, volume in parts]


def _chain(tasks: Iterable[int], volumes: Iterable[int]) -> _Edges:
    tasks = list(tasks)
    return list(zip(tasks[:-1], tasks[1:], volumes, strict=True))


def _wifi_tx() -> tuple[list[str], _Edges]:
    names, edges = ["scrambler_encoder"], []
    for k in range(1, 6):
        steps = range(5 * k - 4, 5 * k + 1)
        names += [f"{step}_{k}" for step in ("interleaver", "qpsk", "pilot_insertion", "ifft",
                                             "crc")]  # fmt: skip
        last = 3 if k == 5 else 0
        edges += _chain((0, *steps, 26), (2000, 3000, 3000, 10, 80, last))
    return [*names, "end"], edges


def _wifi_rx() -> tuple[list[str], _Edges]:
    names, edges = ["match_filter"], _chain((31, 32, 33), (3000, 3000))
    for k in range(1, 6):
        steps = range(6 * k - 5, 6 * k + 1)
        names += [f"{step}_{k}" for step in ("payload_extraction", "fft", "pilot",
                                             "qpsk_demodulation", "deinterleaver",
                                             "format_conversion")]  # fmt: skip
        edges += _chain((0, *steps, 31), (3000, 30, 80, 3000, 3000, 3000, 3000))
    return [*names, "viterbi_decoder", "descrambler", "message_decode"], edges


def _pulse_doppler() -> tuple[list[str], _Edges]:
    names = ["pd_start", *["pd_fft_a", "pd_fft_b", "pd_vecmul", "pd_ifft"] * 64, "pd_realign",
             *["pd_fft_c", "pd_amp", "pd_fftshift"] * 64, "pd_max"]  # fmt: skip
    edges: _Edges = []
    for k in range(64):
        one, other, product, inverse = range(4 * k + 1, 4 * k + 5)
        edges += [(0, one, 1), (0, other, 1), (one, product, 150), (other, product, 150)]
        edges += [(product, inverse, 1), (inverse, 257, 150)]
        edges += _chain((257, 258 + 3 * k, 259 + 3 * k, 260 + 3 * k, 450), (1, 150, 1, 1))
    return names, edges


def _radio_profiles() -> dict[str, tuple[list[str], _Edges]]:
    """Return the applications of the radio platforms: names of the tasks, and edges."""
    transmit = ["scrambler", "viterbi_encoder", "viterbi_puncturing", "interleaver",
                "qpsk_modulation", "crc", "upsampling", "fir_filter"]  # fmt: skip
    receive = ["match_correlation", "filter", "payload_extraction", "qpsk_demodulation",
               "deinterleaver", "viterbi_depuncturing", "viterbi_decoder",
               "descrambler"]  # fmt: skip
    detection = ["ST", "LFM", "xcorr_fft0", "xcorr_fft1", "xcorr_vector_complex_conj_mul",
                 "xcorr_ifft", "max_detect"]  # fmt: skip
    mitigation = ["start_task", "cover_signal", "message_signal", "hermitian_opt", "CMM_1",
                  "CMM_2", "matrix_opts", "matrix_multiplication", "CMM_3",
                  "matrix_subtraction"]  # fmt: skip
    return {
        "wifi_tx": _wifi_tx(),
        "wifi_rx": _wifi_rx(),
        "range_detection": (detection, _edges(_RANGE_DETECTION)),
        "sc_tx": (transmit, _chain(range(8), [0] * 7)),
        "sc_rx": (receive, _chain(range(8), [0] * 7)),
        "temporal_mitigation": (mitigation, _edges(_TEMPORAL_MITIGATION)),
        "pulse_doppler": _pulse_doppler(),
    }


_GRAPHS = {
    **{
        name: ([f"task_{number}" for number in range(1, 11)], _edges(text))
        for name, text in _TOP_EDGES.items()
    },
    **_radio_profiles(),
}

PROFILES = tuple(_GRAPHS)
"""Names of the job profiles that `profile` knows: top1 to top10 for the three processors, the
others for the radio platforms."""


@cache
def profile(name: str, platform_name: str) -> JobProfile:
    """Return a job profile of `PROFILES` with its times on a platform of `PLATFORMS`.

    Raises:
        InstanceError: there is none of this name, or the platform does not know its tasks.
    """
    if name not in _GRAPHS:
        raise InstanceError(unknown_name("profile", name, PROFILES))
    task_names, edges = _GRAPHS[name]
    optimum = _OPTIMA.get(platform_name, {}).get(name, -1)
    return platform(platform_name).profile(name, task_names, edges, optimum)
