"""What a policy sees: arrays that each step brings up to date, compiled by Numba.

The functions take those rows of the state that they read, so that calls stay cheap.
"""

import math
from typing import NamedTuple

import numpy as np

from dispatchgym.envs.soc.kernel import (
    ABSENT,
    ARRIVED,
    ASSIGNED,
    AVAILABLE,
    BUSY,
    CALL,
    CAPACITY,
    CHANGED,
    CLUSTER,
    CONTROL_PERIOD,
    DATA_AT,
    DEPTH,
    DONE,
    EXECUTABLE,
    EXPECTED,
    FIRST_MHZ,
    HORIZON,
    INJECTED,
    JOBS,
    LAST_GAP,
    LAST_PE,
    LAST_STAMP,
    LATE_BINDING,
    LEGACY,
    MAP_ONLY,
    MARKED,
    MEAN,
    MISSING,
    MODE,
    NOISE,
    NOW,
    NUM_TIME_FACTS,
    NUMBER,
    OPEN,
    ORDER_ONLY,
    OUTSTANDING,
    PATH,
    PE,
    PES,
    PROFILE,
    PROTOCOL,
    QUEUED,
    READIED,
    READY,
    READY_AT,
    RELATIVE,
    ROW,
    RUNNING,
    SHOWN,
    SHOWN_CALL,
    STAGE,
    STARTED_AT,
    STATUS,
    TASK,
    TIME_SCALE,
    TOTAL_JOBS,
    WAITING,
    cluster_of,
    compiled,
    copy_row,
    frequency_of,
    mark,
    may_wait,
    merged,
    nominal_duration,
)
from dispatchgym.envs.soc.outlook import look_ahead

# Columns of Observation.task_x behind those of Tables.fact without DEPTH.
STAGE_COLUMN = DEPTH
OPEN_COLUMN, AGE_COLUMN, DATA_COLUMN, RUN_COLUMN, LEFT_COLUMN = range(DEPTH + 5, DEPTH + 10)
NUM_TASK_FEATURES = DEPTH + 10
NUM_PAIR_FEATURES = 4
NUM_JOB_FEATURES = 7
PE_FACT_COLUMN = 5
NUM_PE_FEATURES = 8
NUM_GLOBAL_FEATURES = 8


class Observation(NamedTuple):
    """Observation buffers, lane first; the columns are described in `SoCEnv`."""

    task_x: np.ndarray
    task_mask: np.ndarray
    task_pe: np.ndarray
    outlook: np.ndarray
    task_on: np.ndarray
    task_depth: np.ndarray
    job_x: np.ndarray
    job_mask: np.ndarray
    pe_x: np.ndarray
    pe_mask: np.ndarray
    pe_pe: np.ndarray
    pe_cluster: np.ndarray
    pe_speed: np.ndarray
    edges: np.ndarray
    edge_x: np.ndarray
    edge_mask: np.ndarray
    global_x: np.ndarray
    first_ready: np.ndarray
    action_mask: np.ndarray


@compiled
def show_platform(number, real, pe_fact, transfer, pe_x, pe_mask, pe_pe, pe_cluster):
    """Write what stays the same during the episode."""
    pes, per_scale = number[PES], 1.0 / real[TIME_SCALE]
    for p in range(pe_mask.shape[0]):
        pe_mask[p] = p < pes
        pe_cluster[p] = np.int32(pe_fact[p, CLUSTER]) if p < pes else np.int32(0)
        for column in range(NUM_PE_FEATURES):
            pe_x[p, column] = 0.0
        for column in range(CLUSTER):
            pe_x[p, PE_FACT_COLUMN + column] = pe_fact[p, column] if p < pes else 0.0
        for q in range(pe_mask.shape[0]):
            both = p < pes and q < pes
            pe_pe[p, q] = transfer[p, q] * per_scale if both else 0.0


@compiled
def show_speeds(number, pe_fact, frequency, cluster, pe_speed):
    """Write the frequency of each PE over the highest; 1 where frequencies are not known."""
    for p in range(pe_speed.shape[0]):
        known, highest = p < number[PES], 0
        pe_speed[p] = known
        if known:
            c = cluster_of(pe_fact, p)
            for column in range(FIRST_MHZ, frequency.shape[1]):
                highest = max(highest, frequency[c, column])
            if highest > 0:
                pe_speed[p] = frequency_of(frequency, cluster, c) / highest


@compiled
def clear_rows(array, first, last):
    """Set rows of a table to zero."""
    for i in range(first, last):
        for k in range(array.shape[1]):
            array[i, k] = 0


@compiled
def hide_job(state, tables, observation, lane, j):
    """Clear the rows of a job place."""
    tasks, pes, mode = tables.duration.shape[2], state.pe.shape[2], state.setting[MODE]
    first, last = j * tasks, (j + 1) * tasks
    clear_rows(observation.task_x[lane], first, last)
    for slot in range(first, last):
        clear_rows(observation.task_pe[lane, slot], 0, pes)
        clear_rows(observation.outlook[lane, slot], 0, pes)
        observation.task_mask[lane, slot] = 0
        observation.task_on[lane, slot] = -1
        observation.task_depth[lane, slot] = 0
        forbid_task(observation.action_mask[lane], mode, slot, pes)
    clear_rows(observation.job_x[lane], j, j + 1)
    observation.job_mask[lane, j] = 0
    edges = tables.predecessor.shape[2]
    clear_rows(observation.edges[lane], j * edges, (j + 1) * edges)
    clear_rows(observation.edge_x[lane], j * edges, (j + 1) * edges)
    for e in range(j * edges, (j + 1) * edges):
        observation.edge_mask[lane, e] = 0


@compiled
def forbid_task(action_mask, mode, slot, pes):
    """Take the actions of a task out of the mask."""
    if mode == ORDER_ONLY:
        action_mask[slot] = 0
    elif mode != MAP_ONLY:
        for action in range(slot * pes, (slot + 1) * pes):
            action_mask[action] = 0


@compiled
def show_graph(state, tables, observation, lane, j):
    """Write what stays the same of a job that has entered: its tasks, edges and times."""
    row, k = state.scalar[lane, ROW], state.job[lane, j, PROFILE]
    per_scale = 1.0 / tables.real[row, TIME_SCALE]
    tasks, edges = tables.duration.shape[2], tables.predecessor.shape[2]
    start = tables.predecessor_start[row, k]
    observation.job_mask[lane, j] = 1
    for t in range(tables.size[row, k]):
        slot = j * tasks + t
        features, fact = observation.task_x[lane, slot], tables.fact[row, k, t]
        for column in range(DEPTH):
            unit = per_scale if column < NUM_TIME_FACTS else 1.0
            features[column] = fact[column] * unit
        observation.task_mask[lane, slot] = 1
        observation.task_depth[lane, slot] = np.int32(fact[DEPTH])
        for p in range(tables.number[row, PES]):
            nominal, pair = tables.duration[row, k, t, p], observation.task_pe[lane, slot, p]
            if nominal >= 0:
                pair[0] = nominal * per_scale
                pair[3] = 1.0
        for e in range(start[t], start[t + 1]):
            place = j * edges + e
            source = j * tasks + tables.predecessor[row, k, e]
            observation.edges[lane, place, 0] = np.int32(source)
            observation.edges[lane, place, 1] = np.int32(slot)
            observation.edge_x[lane, place, 0] = tables.delay[row, k, e] * per_scale
            observation.edge_mask[lane, place] = 1


@compiled
def show_task(task, task_x, task_pe, action_mask, mode, slot, pes):
    """Write the stage of a task (its row of State.task) and which actions it allows."""
    stage = task[STAGE]
    task_x[STAGE_COLUMN] = stage == OUTSTANDING or stage == WAITING
    for later in range(READIED, DONE + 1):
        task_x[STAGE_COLUMN + 1 + later - READIED] = stage == later
    task_x[OPEN_COLUMN] = task[MISSING]
    for column in range(AGE_COLUMN, NUM_TASK_FEATURES):
        task_x[column] = 0.0
    if stage == READIED:
        allow_task(task_pe, action_mask, mode, slot, pes)
    else:
        forbid_task(action_mask, mode, slot, pes)
        for p in range(pes):
            task_pe[p, 1] = task_pe[p, 2] = 0.0


@compiled
def allow_task(task_pe, action_mask, mode, slot, pes):
    """Put the actions of a ready task into the mask."""
    if mode == ORDER_ONLY:
        action_mask[slot] = 1
    elif mode != MAP_ONLY:
        for p in range(pes):
            action_mask[slot * pes + p] = task_pe[p, 3] == 1.0


@compiled
def show_estimate(scalar, reach, pe, task_pe, p, per_scale):
    """Write the estimated wait for the data of a ready task and its finish on a PE."""
    pair = task_pe[p]
    if pair[3] == 1.0:
        now = scalar[NOW]
        wait = reach[p] if scalar[RELATIVE] else max(reach[p] - now, 0)
        pair[1] = wait * per_scale
        pair[2] = pair[0] + max(wait, pe[AVAILABLE, p] - now) * per_scale


@compiled
def show_ready(scalar, ready, task, reach, pe, task_x, task_pe, per_scale, first, last):
    """Write what time changes of the ready tasks, and their estimates on PEs first..last-1."""
    for i in range(scalar[READY]):
        slot = ready[i]
        task_x[slot, AGE_COLUMN] = (scalar[NOW] - task[slot, READY_AT]) * per_scale
        for p in range(first, last):
            show_estimate(scalar, reach[slot], pe, task_pe[slot], p, per_scale)


@compiled
def show_waiting(scalar, executable, task, task_x, per_scale):
    """Write what time changes of the executable tasks."""
    now = scalar[NOW]
    for i in range(scalar[EXECUTABLE]):
        slot = executable[i]
        task_x[slot, AGE_COLUMN] = (now - task[slot, READY_AT]) * per_scale
        task_x[slot, DATA_COLUMN] = max(task[slot, DATA_AT] - now, 0) * per_scale


@compiled
def show_pes(scalar, pe, task, pe_x, task_x, pes, per_scale):
    """Write what changes of the PEs and of the tasks that run on them."""
    now, per_now = scalar[NOW], 1.0 / max(scalar[NOW], 1)
    for p in range(pes):
        features, slot, worked, left = pe_x[p], pe[TASK, p], pe[BUSY, p], 0
        if slot >= 0:
            ran, left = now - task[slot, STARTED_AT], max(pe[EXPECTED, p] - now, 0)
            worked += ran
            task_x[slot, RUN_COLUMN] = ran * per_scale
            task_x[slot, LEFT_COLUMN] = left * per_scale
        features[0] = slot >= 0
        features[1] = left * per_scale
        features[2] = pe[QUEUED, p] * per_scale
        features[3] = max(pe[AVAILABLE, p] - now, 0) * per_scale
        features[4] = worked * per_now


@compiled
def show_progress(job, task, fact, size, now, features, per_scale):
    """Write how far a job has come; `task` are its rows of State.task, `fact` of Tables.fact."""
    longest, path, work, total, placed = 0.0, 0.0, 0.0, 0.0, 0
    for t in range(size):
        stage = task[t, STAGE]
        longest = max(longest, fact[t, PATH])
        total += fact[t, MEAN]
        if stage != DONE:
            path = max(path, fact[t, PATH])
            work += fact[t, MEAN]
        placed += stage >= ASSIGNED
    age = now - job[ARRIVED]
    features[0] = age * per_scale
    features[1] = 1.0 - job[OPEN] / size
    features[2] = placed / size
    features[3] = path * per_scale
    features[4] = work * per_scale
    features[5] = total * per_scale
    features[6] = (age + path) / max(longest, 1.0)


@compiled
def show_global(scalar, ready, number, real, features, first_ready):
    """Write what concerns the whole system, and which task is the first that is ready."""
    now, unit = scalar[NOW], real[TIME_SCALE]
    left = 1.0 - scalar[INJECTED] / number[TOTAL_JOBS]
    if number[PROTOCOL] == LEGACY:
        left = 1.0 - now / number[HORIZON]
    features[0] = scalar[JOBS] / number[CAPACITY]
    features[1] = math.log1p(np.float64(scalar[READY]))
    features[2] = scalar[LAST_GAP] / unit
    features[3] = (now - scalar[LAST_STAMP]) / unit
    features[4] = scalar[INJECTED] * unit / (now + unit)
    features[5] = left
    features[6] = real[NOISE]
    features[7] = scalar[JOBS] == number[CAPACITY]
    first_ready[0] = np.int32(ready[0]) if scalar[READY] > 0 else np.int32(0)


@merged
def show_mode(state, tables, action_mask, lane):
    """Write those actions of the mask that do not belong to one task."""
    scalar, mode = state.scalar[lane], state.setting[MODE]
    number = tables.number[scalar[ROW]]
    if scalar[STATUS] != RUNNING:
        for action in range(action_mask.shape[0]):
            action_mask[action] = 0
    elif mode == MAP_ONLY:
        for p in range(number[PES]):
            slot = state.ready[lane, 0]
            action_mask[p] = nominal_duration(state, tables, lane, slot, p) >= 0
    elif mode == LATE_BINDING:
        action_mask[action_mask.shape[0] - 1] = may_wait(scalar, number, state.pe[lane])


@merged
def show_jobs(state, tables, observation, lane):
    """Bring the rows of jobs and tasks up to date."""
    scalar, mode, pes = state.scalar[lane], state.setting[MODE], state.pe.shape[2]
    row, tasks = scalar[ROW], tables.duration.shape[2]
    for j in range(state.job.shape[1]):
        job = state.job[lane, j]
        present = job[NUMBER] + 1 if job[PROFILE] >= 0 else 0
        if present != job[SHOWN]:
            if job[SHOWN] > 0:
                hide_job(state, tables, observation, lane, j)
            if present > 0:
                show_graph(state, tables, observation, lane, j)
            job[SHOWN] = present
        if present > 0:
            show_progress(
                job, state.task[lane, j * tasks : (j + 1) * tasks], tables.fact[row, job[PROFILE]],
                tables.size[row, job[PROFILE]], scalar[NOW], observation.job_x[lane, j],
                1.0 / tables.real[row, TIME_SCALE],
            )  # fmt: skip
    for i in range(scalar[CHANGED]):
        slot = state.changed[lane, i]
        task = state.task[lane, slot]
        task[MARKED] = 0
        if task[STAGE] != ABSENT:
            observation.task_on[lane, slot] = np.int32(task[PE])
            show_task(
                task, observation.task_x[lane, slot], observation.task_pe[lane, slot],
                observation.action_mask[lane], mode, slot, pes,
            )  # fmt: skip
            if task[STAGE] != READIED:
                clear_rows(observation.outlook[lane, slot], 0, pes)
    scalar[CHANGED] = 0


@compiled
def show_afresh(state, tables, observation, lane):
    """Clear the observation of a lane, and mark all of its tasks as changed."""
    scalar = state.scalar[lane]
    row, action_mask = scalar[ROW], observation.action_mask[lane]
    show_platform(
        tables.number[row], tables.real[row], tables.pe_fact[row], tables.transfer[row],
        observation.pe_x[lane], observation.pe_mask[lane], observation.pe_pe[lane],
        observation.pe_cluster[lane],
    )  # fmt: skip
    for action in range(action_mask.shape[0]):
        action_mask[action] = 0
    for j in range(state.job.shape[1]):
        state.job[lane, j, SHOWN] = 0
        hide_job(state, tables, observation, lane, j)
    for slot in range(state.task.shape[1]):
        mark(state, lane, slot)


@merged
def observe(state, tables, observation, lane, fresh):
    """Write the observation of a lane; unless `fresh`, over that of its previous decision."""
    scalar, pe, task = state.scalar[lane], state.pe[lane], state.task[lane]
    if fresh:
        show_afresh(state, tables, observation, lane)
    show_jobs(state, tables, observation, lane)
    row, task_x = scalar[ROW], observation.task_x[lane]
    pes, per_scale = tables.number[row, PES], 1.0 / tables.real[row, TIME_SCALE]
    show_waiting(scalar, state.executable[lane], task, task_x, per_scale)
    show_pes(scalar, pe, task, observation.pe_x[lane], task_x, pes, per_scale)
    if fresh or tables.number[row, CONTROL_PERIOD] > 0:
        show_speeds(
            tables.number[row], tables.pe_fact[row], tables.frequency[row], state.cluster[lane],
            observation.pe_speed[lane],
        )  # fmt: skip
    first, last = 0, pes
    if not fresh and scalar[CALL] == scalar[SHOWN_CALL] and scalar[STATUS] == RUNNING:
        first, last = scalar[LAST_PE], scalar[LAST_PE] + 1
    scalar[SHOWN_CALL] = scalar[CALL]
    show_ready(
        scalar, state.ready[lane], task, state.reach[lane], pe, task_x, observation.task_pe[lane],
        per_scale, first, last,
    )  # fmt: skip
    show_global(
        scalar, state.ready[lane], tables.number[row], tables.real[row],
        observation.global_x[lane], observation.first_ready[lane],
    )  # fmt: skip
    look_ahead(state, tables, lane, observation.outlook[lane])
    show_mode(state, tables, observation.action_mask[lane], lane)


@compiled
def copy_observation(source, target, lane):
    """Copy the observation of a lane."""
    copy_row(source.task_x, lane, target.task_x, lane)
    copy_row(source.task_mask, lane, target.task_mask, lane)
    copy_row(source.task_pe, lane, target.task_pe, lane)
    copy_row(source.outlook, lane, target.outlook, lane)
    copy_row(source.task_on, lane, target.task_on, lane)
    copy_row(source.task_depth, lane, target.task_depth, lane)
    copy_row(source.job_x, lane, target.job_x, lane)
    copy_row(source.job_mask, lane, target.job_mask, lane)
    copy_row(source.pe_x, lane, target.pe_x, lane)
    copy_row(source.pe_mask, lane, target.pe_mask, lane)
    copy_row(source.pe_pe, lane, target.pe_pe, lane)
    copy_row(source.pe_cluster, lane, target.pe_cluster, lane)
    copy_row(source.pe_speed, lane, target.pe_speed, lane)
    copy_row(source.edges, lane, target.edges, lane)
    copy_row(source.edge_x, lane, target.edge_x, lane)
    copy_row(source.edge_mask, lane, target.edge_mask, lane)
    copy_row(source.global_x, lane, target.global_x, lane)
    copy_row(source.first_ready, lane, target.first_ready, lane)
    copy_row(source.action_mask, lane, target.action_mask, lane)
