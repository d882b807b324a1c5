"""Golden values: makespans measured with an independent prototype (ties lowest job index)."""

RULE_ORDER = (
    "spt",
    "lpt",
    "mwkr",
    "lwkr",
    "mopnr",
    "lopnr",
    "fifo",
    "lifo",
    "fdd_mwkr",
    "spt_twk",
    "lpt_twk",
    "spt_rwk",
    "stpt",
    "ltpt",
    "lrm",
    "lso",
    "sso",
    "winq",
    "blkrel",
)


def _row(values: str) -> dict[str, int]:
    return dict(zip(RULE_ORDER, map(int, values.split()), strict=True))


# (instance, mode) -> makespan of each rule
RULE_MAKESPANS = {
    ("ft06", "classic"): _row("88 77 61 83 59 68 65 68 67 77 67 88 83 68 60 63 68 69 61"),
    ("ft06", "blocking"): _row("79 81 75 82 75 77 75 80 73 79 81 79 80 75 75 72 82 91 72"),
    ("ft10", "classic"): _row(
        "1074 1295 1108 1334 1163 1352 1184 1393 1097 1057 1274 1251 1262 1190 1090 1238 1312 "
        "1214 1108"
    ),
    ("ft10", "blocking"): _row(
        "1340 1881 1796 1659 1831 1536 1780 1605 1513 1340 1806 1519 1512 1586 1796 1473 1546 "
        "1515 1634"
    ),
    ("la01", "classic"): _row(
        "751 822 735 933 763 941 772 796 747 727 877 933 933 835 671 762 828 808 735"
    ),
    ("la01", "blocking"): _row(
        "1175 1264 1142 1351 1130 1176 1130 1291 1202 1201 1231 1175 1161 1177 1236 1096 1049 "
        "1191 1155"
    ),
    ("la16", "classic"): _row(
        "1156 1229 1054 1347 1108 1119 1180 1113 1118 1284 1316 1241 1268 1165 1081 1159 1319 "
        "1391 1054"
    ),
    ("la16", "blocking"): _row(
        "1818 1467 1542 1848 1494 1376 1494 1429 1877 1715 1373 1794 1772 1745 1654 1575 1792 "
        "1539 1478"
    ),
    ("orb07", "classic"): _row(
        "504 470 483 499 500 519 475 521 462 465 553 527 487 521 473 465 595 500 483"
    ),
    ("orb07", "blocking"): _row(
        "759 759 698 775 838 674 838 668 720 711 726 709 775 701 687 860 771 597 729"
    ),
    ("ta01", "classic"): _row(
        "1462 1701 1491 1710 1438 1737 1486 1574 1433 1499 1784 1425 1501 1639 1484 1553 1519 "
        "2008 1491"
    ),
}

# (instance, rule) in blocking mode with swap -> (number of swaps, longest cycle)
SWAPS = {
    ("ft06", "spt"): (6, 5),
    ("ft06", "fifo"): (6, 4),
    ("ft10", "spt"): (14, 5),
    ("la31", "lpt"): (50, 9),
}

# (instance, probability), interrupt seed 7, per operation, resume:
# operations interrupted, total down time, makespans of SPT, MWKR, FIFO, clairvoyant optimum
INTERRUPTED = {
    ("ft06", 0.1): {"count": 5, "down": 34, "blocking": (92, 86, 95), "classic": (94, 79, 75)},
    ("ft06", 0.2): {"count": 7, "down": 51, "blocking": (93, 93, 102), "classic": (101, 82, 92)},
    ("la01", 0.1): {
        "count": 6,
        "down": 411,
        "blocking": (1332, 1278, 1441),
        "classic": (954, 819, 892),
    },
    ("la01", 0.2): {
        "count": 10,
        "down": 647,
        "blocking": (1350, 1437, 1516),
        "classic": (975, 893, 917),
    },
}

# (instance, probability), the same shutdowns: clairvoyant optimum, blocking with swap
CLAIRVOYANT_OPTIMA = {
    ("ft06", 0.1): 77,
    ("ft06", 0.2): 81,
    ("la01", 0.1): 937,
    ("la01", 0.2): 1026,
    ("la03", 0.1): 824,
    ("la03", 0.2): 880,
}

# optima: classic, blocking with swap, blocking without swap
OPTIMA = {
    "ft06": {"classic": 55, "blocking": 63, "no_swap": 69},
    "la01": {"classic": 666, "blocking": 793, "no_swap": 881},
    "la02": {"classic": 655, "blocking": 793, "no_swap": 900},
    "la03": {"classic": 597, "blocking": 715, "no_swap": 808},
    "la04": {"classic": 590, "blocking": 743, "no_swap": 859},
    "la05": {"classic": 593, "blocking": 664, "no_swap": 732},
}
