"""What the deadline family shows of a lane: the layout is that of all families.

Times are in seconds, money in mean benefits of a task. Row 0 of the servers is the cloud, row 1
the edge. `EdgeOffloadingEnv` describes the columns.
"""

from dispatchgym.envs.edge_offloading.dems_kernel import (
    CLOUD,
    DEMS_RULE,
    EDGE,
    EDGE_TASK,
    ENDED,
    HELD,
    HOLD,
    IN_TIME,
    NEXT,
    NOW,
    PLAYING,
    QUEUED,
    RUNNING,
    SENT,
    SHOW_MARGINALS,
    STARTED,
    STATUS,
    UTILITY_UNIT,
    WINDOW_END,
    compiled,
    edge_gain,
    edge_time,
    is_legal,
    made_late,
    priority_order,
    queue_place,
    rule_action,
    time_left,
    wait_before,
)
from dispatchgym.envs.edge_offloading.dems_tables import (
    BENEFIT,
    CLOUD_COST,
    EDGE_COST,
    EDGE_TIME,
    HORIZON,
    KIND,
    MODELS,
    REQUIRED,
    SLOTS,
    TASKS,
    WINDOW,
)
from dispatchgym.envs.edge_offloading.layout import (
    APP_AGE,
    APP_TASKS_LEFT,
    ARRIVAL_RATE,
    BACKLOG,
    BITS,
    CLOUD_GHZ,
    COMPUTING,
    CONTEXT_COLUMNS,
    COST,
    DATA_SHARE,
    DEMS,
    EDGES,
    EPISODE_LEFT,
    EVENT_MODE,
    EXISTS,
    EXTRA_DELAY,
    FREQUENCY,
    HISTOGRAM,
    IN_DEGREE,
    MEAN_EDGE_GHZ,
    MEAN_SIZE,
    NUM_EDGES,
    OPEN,
    OWN_DELAY,
    PREFERRED,
    PRESENT,
    SCENARIO,
    SERVER_COLUMNS,
    SLACK,
    TASK_COLUMNS,
    TIME_IN_QUEUE,
    TIME_LEFT,
    TYPE,
    UNTIL_FREE,
    UPLOADING,
    WAITING,
    WAITING_BITS,
    WORK,
    copy_row,
)
from dispatchgym.envs.edge_offloading.layout import BENEFIT as BENEFIT_SHOWN

SECOND = 1e-3
BINS_PER_MODEL = 10
BIN_MS = 100
COMING_SHOWN = 3
"""So many of the coming segments are shown."""


@compiled
def count_task(state, lane, task, row):
    """Add a waiting task to the histogram of its kind by the time that it has left."""
    kind = state.times[lane, state.model[lane, task], KIND]
    left = max(time_left(state, lane, task), 0) // BIN_MS
    row[HISTOGRAM + BINS_PER_MODEL * kind + min(left, BINS_PER_MODEL - 1)] += 1.0


@compiled
def show_cloud(state, lane, row):
    """Write the cloud: what waits for it, and what it would do with the task."""
    scalar, task = state.scalar[lane], state.scalar[lane, NEXT]
    row[COMPUTING] = scalar[RUNNING]
    row[UPLOADING] = scalar[SENT] - scalar[STARTED]
    for i in range(scalar[HELD]):
        count_task(state, lane, state.held[lane, i], row)
    if scalar[RUNNING] >= state.numbers[lane, SLOTS]:
        first = state.cloud[lane, 0, 0]
        for i in range(scalar[RUNNING]):
            first = min(first, state.cloud[lane, i, 0])
        row[UNTIL_FREE] = (first - scalar[NOW]) * SECOND
    if scalar[STATUS] == PLAYING and state.setting[SHOW_MARGINALS]:
        money = state.moneys[lane, state.model[lane, task]]
        expected = state.expected[lane, task]
        row[OWN_DELAY] = expected * SECOND
        row[COST] = money[CLOUD_COST] / state.real[lane, UTILITY_UNIT]
        row[SLACK] = (time_left(state, lane, task) - expected) * SECOND


@compiled
def show_edge(state, lane, row):
    """Write the edge: what it does, what is queued, and what would become of the task."""
    scalar, task = state.scalar[lane], state.scalar[lane, NEXT]
    row[COMPUTING] = scalar[EDGE_TASK] >= 0
    row[UNTIL_FREE] = wait_before(state, lane, 0) * SECOND
    row[BACKLOG] = wait_before(state, lane, scalar[QUEUED]) * SECOND
    for i in range(scalar[QUEUED]):
        count_task(state, lane, state.queue[lane, i], row)
    if scalar[STATUS] == PLAYING and state.setting[SHOW_MARGINALS]:
        unit = 1.0 / state.real[lane, UTILITY_UNIT]
        money = state.moneys[lane, state.model[lane, task]]
        place = queue_place(state, lane, task, priority_order(state, lane))
        needed = edge_time(state, lane, task)
        busy = wait_before(state, lane, place) + needed
        late, lost, _ = made_late(state, lane, place, busy, False)
        row[OWN_DELAY] = busy * SECOND
        row[EXTRA_DELAY] = needed * (scalar[QUEUED] - place - late) * SECOND
        row[COST] = (money[EDGE_COST] + lost) * unit
        row[SLACK] = (time_left(state, lane, task) - busy) * SECOND
        row[DATA_SHARE] = edge_gain(state, lane, task) * unit


@compiled
def show_arrivals(state, lane, row):
    """Write what has arrived beside the task, and when the next segments come."""
    task, tasks = state.scalar[lane, NEXT], state.numbers[lane, TASKS]
    last, drone, of_segment = state.release[lane, task], state.drone[lane, task], 0
    others, work, shown = 0, 0, 0
    for other in range(task, tasks):
        time = state.release[lane, other]
        if time == state.scalar[lane, NOW]:
            others += 1
            work += edge_time(state, lane, other)
            of_segment += state.drone[lane, other] == drone
        elif time != last:
            if shown == COMING_SHOWN:
                break
            row[IN_DEGREE + shown] = (time - state.scalar[lane, NOW]) * SECOND
            shown += 1
            last = time
    row[WAITING] = others - 1
    row[WAITING_BITS] = (work - edge_time(state, lane, task)) * SECOND
    row[APP_TASKS_LEFT] = of_segment


@compiled
def show_task(state, lane, row):
    """Write the task, how its model stands in the window, and what DEMS would do."""
    scalar, numbers = state.scalar[lane], state.numbers[lane]
    task = scalar[NEXT]
    model = state.model[lane, task]
    money, standing = state.moneys[lane, model], state.standing[lane, model]
    ahead = standing[IN_TIME] - money[REQUIRED] * standing[ENDED]
    per_window = numbers[TASKS] / numbers[MODELS] * numbers[WINDOW] / numbers[HORIZON]
    row[BITS] = ahead / max(per_window, 1.0)
    row[WORK] = edge_time(state, lane, task) * SECOND
    row[TYPE] = state.times[lane, model, KIND] / 10.0
    row[BENEFIT_SHOWN] = money[BENEFIT] / state.real[lane, UTILITY_UNIT]
    row[TIME_LEFT] = time_left(state, lane, task) * SECOND
    row[EPISODE_LEFT] = 1.0 - task / numbers[TASKS]
    row[APP_AGE] = (scalar[WINDOW_END] - scalar[NOW]) / numbers[WINDOW]
    row[PRESENT] = 1.0
    show_arrivals(state, lane, row)
    chosen = rule_action(state, lane, DEMS_RULE)
    row[PREFERRED] = chosen if chosen == CLOUD or chosen == EDGE else -1.0
    row[TIME_IN_QUEUE] = chosen == HOLD


@compiled
def show_context(state, lane, row):
    """Write what does not change in a run."""
    numbers = state.numbers[lane]
    work = 0
    for task in range(numbers[TASKS]):
        work += state.times[lane, state.model[lane, task], EDGE_TIME]
    for column in range(CONTEXT_COLUMNS):
        row[column] = 0.0
    row[NUM_EDGES] = row[MEAN_EDGE_GHZ] = row[CLOUD_GHZ] = row[EVENT_MODE] = 1.0
    row[ARRIVAL_RATE] = numbers[TASKS] / (numbers[HORIZON] * SECOND)
    row[MEAN_SIZE] = work * SECOND / numbers[TASKS]
    row[SCENARIO] = DEMS


@compiled
def observe(state, preference, observation, lane, fresh):
    """Write the observation of a lane; unless `fresh`, over that of its previous decision."""
    playing = state.scalar[lane, STATUS] == PLAYING
    if fresh:
        for server in range(observation.servers.shape[1]):
            for column in range(SERVER_COLUMNS):
                observation.servers[lane, server, column] = 0.0
        for action in range(observation.action_mask.shape[1]):
            observation.action_mask[lane, action] = 0
        show_context(state, lane, observation.context[lane])
    for server in range(2):
        row = observation.servers[lane, server]
        for column in range(SERVER_COLUMNS):
            row[column] = 0.0
        row[EXISTS] = row[FREQUENCY] = row[EDGES] = 1.0
        row[OPEN] = playing
        observation.action_mask[lane, server] = is_legal(state, lane, server)
    show_cloud(state, lane, observation.servers[lane, CLOUD])
    show_edge(state, lane, observation.servers[lane, EDGE])
    for column in range(TASK_COLUMNS):
        observation.task[lane, column] = 0.0
    if playing:
        show_task(state, lane, observation.task[lane])
    servers = observation.servers.shape[1]
    observation.action_mask[lane, servers] = playing
    observation.action_mask[lane, servers + 1] = is_legal(state, lane, HOLD)
    copy_row(preference, lane, observation.preference, lane)
