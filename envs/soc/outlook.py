"""What each placement of a ready task would lead to, as far as it can be foreseen.

Looked at are the task itself, the queue of the PE, the task's successors, the other ready tasks and
those that get ready next. All of it is an estimate: durations are nominal, and nothing is known of
jobs to come. The promise of a placement is the finish of its task plus PEFT's optimistic cost
(Arabnejad and Barbosa 2014) of what follows: when the job may be done.
"""

import numpy as np

from dispatchgym.envs.soc.kernel import (
    ASSIGNED,
    AVAILABLE,
    BEGUN,
    BY_JOB,
    DATA_AT,
    DONE,
    EXECUTABLE,
    EXPECTED,
    FINISH_AT,
    JOB,
    MISSING,
    NOW,
    NUMBER,
    OUTSTANDING,
    PE,
    PES,
    PROFILE,
    READIED,
    READY,
    ROW,
    STAGE,
    TASK,
    TIME_SCALE,
    data_wait,
    estimated_finish,
    inlined,
    merged,
    nominal_duration,
)

# Columns of the outlook, times in units of the platform's time scale.
REGRET, LAG, GAP, OVERTAKING, HARM = range(5)
PROMISE, PROMISE_REGRET, CHILD_REGRET, CHILDREN = range(5, 9)
LOSS, JOB_LOSS, DEMAND_HERE, NEAR = range(9, 13)
JOB_ESTIMATE, JOB_LAG, RELEASES, OUTPUT_DELAY = range(13, 17)
NUM_OUTLOOK_COLUMNS = 17

# Columns of State.task_forecast, State.pe_forecast and State.job_forecast, their scratch.
END, END_BEHIND, BEST, SECOND, BEST_PE = range(5)
NUM_TASK_FORECASTS = 5
DEMAND, REACH = range(2)
NUM_PE_FORECASTS = 2

FAR = 1e18


# --- Queues ----------------------------------------------------------------------------------


@merged
def drain_queue(state, tables, lane, p, column, added, data):
    """Work out when the executable tasks of a PE end, one more among them.

    Args:
        state: of the lane.
        tables: of its instance.
        lane: which one.
        p: the PE.
        column: of `task_forecast`, to which ends of the queued tasks are written.
        added: place of the task that joins the queue; -1 for none.
        data: when its data are there.

    Returns:
        the end of the added task.
    """
    scalar, pe, task = state.scalar[lane], state.pe[lane], state.task[lane]
    executable, forecast = state.executable[lane], state.task_forecast[lane]
    by_job = tables.number[scalar[ROW], BY_JOB] == 1
    time, added_end = np.float64(scalar[NOW]), -1.0
    if pe[TASK, p] >= 0:
        time = max(time, np.float64(pe[EXPECTED, p]))
    for i in range(scalar[EXECUTABLE]):
        if task[executable[i], PE] == p:
            forecast[executable[i], column] = -1.0
    while True:
        best, begin = -1, FAR
        for i in range(scalar[EXECUTABLE]):
            slot = executable[i]
            if task[slot, PE] == p and forecast[slot, column] < 0.0:
                start = max(time, np.float64(task[slot, DATA_AT]))
                if start < begin:
                    best, begin = slot, start
        if added >= 0 and added_end < 0.0:
            start = max(time, data)
            first = by_job and best >= 0 and is_older(state, lane, added, best)
            if start < begin or (start == begin and first):
                best, begin = added, start
        if best < 0:
            return added_end
        time = begin + nominal_duration(state, tables, lane, best, p)
        if best == added:
            added_end = time
        else:
            forecast[best, column] = time


@inlined
def is_older(state, lane, slot, other):
    """Tell whether the job of a task came before that of another."""
    task, job = state.task[lane], state.job[lane]
    return job[task[slot, JOB], NUMBER] < job[task[other, JOB], NUMBER]


@inlined
def queue_harm(state, lane, p):
    """Return by how much the queued tasks of a PE end later behind an added one, all together."""
    task, forecast, harm = state.task[lane], state.task_forecast[lane], 0.0
    for i in range(state.scalar[lane, EXECUTABLE]):
        slot = state.executable[lane, i]
        if task[slot, PE] == p:
            harm += forecast[slot, END_BEHIND] - forecast[slot, END]
    return harm


# --- Jobs and what comes next ----------------------------------------------------------------


@merged
def expect_ends(state, tables, lane):
    """Write when running, queued and finished tasks end; when each job may be done, so far."""
    scalar, pe, task, job = state.scalar[lane], state.pe[lane], state.task[lane], state.job[lane]
    forecast, estimate = state.task_forecast[lane], state.job_forecast[lane]
    row, now, tasks = scalar[ROW], scalar[NOW], tables.duration.shape[2]
    for p in range(tables.number[row, PES]):
        state.pe_forecast[lane, DEMAND, p] = 0.0
        if pe[TASK, p] >= 0:
            forecast[pe[TASK, p], END] = max(pe[EXPECTED, p], now)
    if scalar[EXECUTABLE] > 0:
        for p in range(tables.number[row, PES]):
            drain_queue(state, tables, lane, p, END, -1, 0.0)
    for j in range(job.shape[0]):
        k = job[j, PROFILE]
        estimate[j] = 0.0
        for slot in range(j * tasks, j * tasks + (tables.size[row, k] if k >= 0 else 0)):
            stage = task[slot, STAGE]
            if stage == DONE:
                forecast[slot, END] = task[slot, FINISH_AT]
            elif stage == ASSIGNED or stage == BEGUN:
                after = tables.optimistic[row, k, slot - j * tasks, task[slot, PE]]
                estimate[j] = max(estimate[j], forecast[slot, END] - now + after)


@merged
def promise_ready(state, tables, lane):
    """Write the ends and promises of the ready tasks on their best PEs; return the first end."""
    scalar, row = state.scalar[lane], state.scalar[lane, ROW]
    estimate, tasks, soonest = state.job_forecast[lane], tables.duration.shape[2], FAR
    for i in range(scalar[READY]):
        slot = state.ready[lane, i]
        j, forecast = state.task[lane, slot, JOB], state.task_forecast[lane, slot]
        optimistic = tables.optimistic[row, state.job[lane, j, PROFILE], slot - j * tasks]
        forecast[BEST], forecast[SECOND], finish_first = FAR, FAR, FAR
        for p in range(tables.number[row, PES]):
            nominal = nominal_duration(state, tables, lane, slot, p)
            if nominal >= 0:
                finish = estimated_finish(state, lane, slot, p, nominal)
                promise = finish + optimistic[p]
                finish_first = min(finish_first, finish)
                if promise < forecast[BEST]:
                    forecast[SECOND] = forecast[BEST]
                    forecast[BEST], forecast[BEST_PE] = promise, p
                elif promise < forecast[SECOND]:
                    forecast[SECOND] = promise
        forecast[END] = scalar[NOW] + finish_first
        soonest = min(soonest, finish_first)
        estimate[j] = max(estimate[j], forecast[BEST])
    return soonest


@merged
def expect_demand(state, tables, lane):
    """Add up what tasks that get ready next would lose on each PE's being taken.

    These are the tasks all of whose predecessors are ready at least. Each wants the PE of its best
    promise, and loses the difference to the second best.
    """
    row, tasks = state.scalar[lane, ROW], tables.duration.shape[2]
    for j in range(state.job.shape[1]):
        k = state.job[lane, j, PROFILE]
        for t in range(tables.size[row, k] if k >= 0 else 0):
            if state.task[lane, j * tasks + t, STAGE] == OUTSTANDING:
                if comes_next(state, tables, lane, j, t):
                    wanted, difference = wanted_pe(tables, row, k, t)
                    state.pe_forecast[lane, DEMAND, wanted] += difference


@inlined
def comes_next(state, tables, lane, j, t):
    """Tell whether all predecessors of a task are ready, assigned, running or done."""
    row, k, tasks = state.scalar[lane, ROW], state.job[lane, j, PROFILE], tables.duration.shape[2]
    soon = True
    for e in range(tables.predecessor_start[row, k, t], tables.predecessor_start[row, k, t + 1]):
        other = j * tasks + tables.predecessor[row, k, e]
        soon &= state.task[lane, other, STAGE] >= READIED
    return soon


@inlined
def wanted_pe(tables, row, k, t):
    """Return the PE with the least duration plus cost of what follows, and its lead."""
    wanted, best, second = 0, FAR, FAR
    for p in range(tables.number[row, PES]):
        if tables.duration[row, k, t, p] >= 0:
            promise = tables.duration[row, k, t, p] + tables.optimistic[row, k, t, p]
            if promise < best:
                wanted, best, second = p, promise, best
            elif promise < second:
                second = promise
    return wanted, second - best if second < FAR else 0.0


# --- Successors ------------------------------------------------------------------------------


@merged
def reach_child(state, tables, lane, j, t, child):
    """Write when the data of the other predecessors of a child are on each PE.

    Returns:
        volume of the edge from `t` to `child`.
    """
    row, k, now = state.scalar[lane, ROW], state.job[lane, j, PROFILE], state.scalar[lane, NOW]
    reach, first, volume = state.pe_forecast[lane, REACH], j * tables.duration.shape[2], 0.0
    start, pes = tables.predecessor_start[row, k], tables.number[row, PES]
    for q in range(pes):
        reach[q] = 0.0
    for e in range(start[child], start[child + 1]):
        other = first + tables.predecessor[row, k, e]
        stage = state.task[lane, other, STAGE]
        if tables.predecessor[row, k, e] == t:
            volume = tables.volume[row, k, e]
        elif stage >= READIED:
            end = state.task_forecast[lane, other, END] - now
            for q in range(pes):
                delay = 0
                if stage >= ASSIGNED:
                    rate = tables.bandwidth[row, state.task[lane, other, PE], q]
                    delay = np.int64(tables.volume[row, k, e] / rate)
                reach[q] = max(reach[q], end + delay)
    return volume


@inlined
def child_promise(state, tables, lane, j, child, volume, p, finish):
    """Return the best promise of a child whose predecessor ends on a PE at a time from now."""
    scalar, available = state.scalar[lane], state.pe[lane, AVAILABLE]
    row, k, best = scalar[ROW], state.job[lane, j, PROFILE], FAR
    for q in range(tables.number[row, PES]):
        nominal = tables.duration[row, k, child, q]
        if nominal >= 0:
            delay = np.int64(volume / tables.bandwidth[row, p, q])
            start = max(state.pe_forecast[lane, REACH, q], np.float64(finish + delay))
            if q != p:
                start = max(start, np.float64(available[q] - scalar[NOW]))
            best = min(best, start + nominal + tables.optimistic[row, k, child, q])
    return best


@merged
def look_at_children(state, tables, lane, slot, outlook, per_scale):
    """Write what placements of a ready task (its rows of the outlook) mean for its successors."""
    row, j = state.scalar[lane, ROW], state.task[lane, slot, JOB]
    k, tasks, pes = state.job[lane, j, PROFILE], tables.duration.shape[2], tables.number[row, PES]
    t, releases, least = slot - j * tasks, 0, FAR
    first, last = tables.successor_start[row, k, t], tables.successor_start[row, k, t + 1]
    for p in range(pes):
        outlook[p, CHILD_REGRET] = outlook[p, CHILDREN] = 0.0
    for e in range(first, last):
        child = tables.successor[row, k, e]
        releases += state.task[lane, j * tasks + child, MISSING] == 1
        volume = reach_child(state, tables, lane, j, t, child)
        for p in range(pes):
            nominal = nominal_duration(state, tables, lane, slot, p)
            if nominal >= 0:
                finish = estimated_finish(state, lane, slot, p, nominal)
                promise = child_promise(state, tables, lane, j, child, volume, p, finish)
                promise *= per_scale
                outlook[p, CHILD_REGRET] = max(outlook[p, CHILD_REGRET], promise)
                outlook[p, CHILDREN] += promise / (last - first)
    for p in range(pes):
        outlook[p, RELEASES] = releases
        if nominal_duration(state, tables, lane, slot, p) >= 0:
            least = min(least, np.float64(outlook[p, CHILD_REGRET]))
    for p in range(pes):
        outlook[p, CHILD_REGRET] -= least
    look_at_edges(state, tables, lane, slot, outlook, per_scale)


@merged
def look_at_edges(state, tables, lane, slot, outlook, per_scale):
    """Write how much data a ready task sends on, and which of its successors' are on each PE."""
    row, j = state.scalar[lane, ROW], state.task[lane, slot, JOB]
    k, first = state.job[lane, j, PROFILE], j * tables.duration.shape[2]
    pes, start, sent = tables.number[row, PES], tables.predecessor_start[row, k], 0.0
    for p in range(pes):
        outlook[p, NEAR] = 0.0
    t = slot - first
    for i in range(tables.successor_start[row, k, t], tables.successor_start[row, k, t + 1]):
        child = tables.successor[row, k, i]
        for e in range(start[child], start[child + 1]):
            delay, other = tables.delay[row, k, e], tables.predecessor[row, k, e]
            if other == t:
                sent += delay
            elif state.task[lane, first + other, STAGE] >= ASSIGNED:
                outlook[state.task[lane, first + other, PE], NEAR] += delay * per_scale
    for p in range(pes):
        outlook[p, OUTPUT_DELAY] = sent * per_scale


# --- Other ready tasks -----------------------------------------------------------------------


@merged
def look_at_others(state, tables, lane, slot, p, finish):
    """Return what the other ready tasks lose if a PE is taken until a time from now.

    Returns:
        sum of what their best promises get worse by; sum of what these then exceed the estimates
        of their jobs by.
    """
    scalar, task, tasks = state.scalar[lane], state.task[lane], tables.duration.shape[2]
    row, loss, job_loss = scalar[ROW], 0.0, 0.0
    for i in range(scalar[READY]):
        other = state.ready[lane, i]
        forecast = state.task_forecast[lane, other]
        if other != slot and forecast[BEST_PE] == p:
            j = task[other, JOB]
            k, t = state.job[lane, j, PROFILE], other - j * tasks
            start = max(data_wait(state, lane, other, p), finish)
            promise = start + tables.duration[row, k, t, p] + tables.optimistic[row, k, t, p]
            promise = min(promise, forecast[SECOND])
            loss += promise - forecast[BEST]
            job_loss += max(promise - state.job_forecast[lane, j], 0.0)
    return loss, job_loss


# --- All of it -------------------------------------------------------------------------------


@merged
def look_at_placement(state, tables, lane, slot, p, outlook, soonest, first_job):
    """Write the row of a ready task on a PE that supports it, the successors left out."""
    scalar, row = state.scalar[lane], state.scalar[lane, ROW]
    per_scale, now = 1.0 / tables.real[row, TIME_SCALE], scalar[NOW]
    j, forecast = state.task[lane, slot, JOB], state.task_forecast[lane, slot]
    k, t = state.job[lane, j, PROFILE], slot - j * tables.duration.shape[2]
    nominal = tables.duration[row, k, t, p]
    finish = estimated_finish(state, lane, slot, p, nominal)
    wait, estimate = data_wait(state, lane, slot, p), state.job_forecast[lane, j]
    promise = finish + tables.optimistic[row, k, t, p]
    end = drain_queue(state, tables, lane, p, END_BEHIND, slot, np.float64(now + wait))
    loss, job_loss = look_at_others(state, tables, lane, slot, p, finish)
    idle = max(state.pe[lane, AVAILABLE, p] - now, 0)
    outlook[REGRET] = (finish - (forecast[END] - now)) * per_scale
    outlook[LAG] = (finish - soonest) * per_scale
    outlook[GAP] = max(wait - idle, 0) * per_scale
    outlook[OVERTAKING] = (end - now - finish) * per_scale
    outlook[HARM] = queue_harm(state, lane, p) * per_scale
    outlook[PROMISE] = (promise - estimate) * per_scale
    outlook[PROMISE_REGRET] = (promise - forecast[BEST]) * per_scale
    outlook[LOSS] = loss * per_scale
    outlook[JOB_LOSS] = job_loss * per_scale
    outlook[DEMAND_HERE] = state.pe_forecast[lane, DEMAND, p] * per_scale
    outlook[JOB_ESTIMATE] = estimate * per_scale
    outlook[JOB_LAG] = (estimate - first_job) * per_scale


@merged
def look_ahead(state, tables, lane, outlook):
    """Write the outlook of all ready tasks of a lane.

    Args:
        state: of the lane; its forecasts are scratch.
        tables: of its instance.
        lane: which one.
        outlook: float32 (S, P, NUM_OUTLOOK_COLUMNS); only rows of ready tasks are written, those
            of PEs that do not support the task are zero.
    """
    scalar, row = state.scalar[lane], state.scalar[lane, ROW]
    per_scale = 1.0 / tables.real[row, TIME_SCALE]
    expect_ends(state, tables, lane)
    soonest = promise_ready(state, tables, lane)
    expect_demand(state, tables, lane)
    first_job = FAR
    for j in range(state.job.shape[1]):
        if state.job[lane, j, PROFILE] >= 0:
            first_job = min(first_job, state.job_forecast[lane, j])
    for i in range(scalar[READY]):
        slot = state.ready[lane, i]
        look_at_children(state, tables, lane, slot, outlook[slot], per_scale)
        for p in range(tables.number[row, PES]):
            if nominal_duration(state, tables, lane, slot, p) >= 0:
                look_at_placement(
                    state, tables, lane, slot, p, outlook[slot, p], soonest, first_job
                )
            else:
                for column in range(NUM_OUTLOOK_COLUMNS):
                    outlook[slot, p, column] = 0.0
