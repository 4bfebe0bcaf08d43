"""Stage 5, looked at: the store as one page, and its plots, to open in any browser and to send to anybody.

python examples/11_report.py runs.db report.html        (after 05_score_and_credit.py)
"""

import sys

from agentprm import Store
from agentprm.credit import calibration, plots
from agentprm.credit.report import write_report


def main(path="runs.db", page="report.html"):
    with Store(path) as store:
        report = write_report(store, page, limit=500)
        print(f"{report.episodes} episodes, {report.left_out} left out, {report.bytes / 1e6:.1f} MB → {report.path}")
        ax = plots.calibration(calibration(store))
        ax.figure.savefig("calibration.png")
    print(f"calibration.png: {ax.get_title(loc='left')}")


if __name__ == "__main__":
    main(*sys.argv[1:])
