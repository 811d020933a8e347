#!/usr/bin/env python3
"""Is our gradient boosting as good and as fast as scikit-learn's and LightGBM's? Same data, same parameters, two threads.

  cargo build --release -p foreshock-predict --example boosting
  python3 notebooks/boosting.py target/release/examples/boosting [--rows 25000] [--features 460] [--repeats 5]

Prints a Markdown table: median CPU and wall seconds of fit and predict, and the area under the precision-recall curve on
rows of a later draw. Needs numpy, pyarrow, scikit-learn and lightgbm.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time

THREADS = 2
os.environ.setdefault("OMP_NUM_THREADS", str(THREADS))
# OpenMP's threads turn idly while they wait, which would count as work where other programs run as well.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import lightgbm as lgb  # noqa: E402
import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from sklearn.ensemble import HistGradientBoostingClassifier  # noqa: E402
from sklearn.metrics import average_precision_score  # noqa: E402


def table(rows, features, seed, weights):
    """Correlated columns with heavy tails and 5 % missing values; about 6 % of the rows fail, for several reasons."""
    rng = np.random.default_rng(seed)
    latent = rng.standard_normal((rows, 30)).astype(np.float32)
    x = latent @ weights["mix"] + 0.7 * rng.standard_t(4, (rows, features)).astype(np.float32)
    odds = -4.2 + 1.2 * np.maximum(latent[:, 0], 0) * (latent[:, 1] > 0) + 1.1 * np.abs(latent[:, 2])
    odds += 0.9 * (latent[:, 3] > 1.2) * (latent[:, 4] < 0) + 0.5 * latent[:, 5]
    y = rng.random(rows) < 1 / (1 + np.exp(-odds))
    x[rng.random(x.shape) < 0.05] = np.nan
    return x, y


def write(path, x, y):
    names = [f"f{i}" for i in range(x.shape[1])]
    pq.write_table(pa.table([pa.array(y)] + [pa.array(x[:, i]) for i in range(x.shape[1])], names=["answer"] + names), path)


def measured(fit, predict, repeats):
    runs = []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        model = fit()
        run = {"fit_wall": time.perf_counter() - w, "fit_cpu": time.process_time() - c}
        w, c = time.perf_counter(), time.process_time()
        p = predict(model)
        run |= {"predict_wall": time.perf_counter() - w, "predict_cpu": time.process_time() - c}
        runs.append(run)
    return runs, p


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("binary")
    a.add_argument("--rows", type=int, default=25_000)
    a.add_argument("--features", type=int, default=460)
    a.add_argument("--repeats", type=int, default=5)
    a = a.parse_args()
    weights = {"mix": (np.random.default_rng(0).standard_normal((30, a.features)) * 0.3).astype(np.float32)}
    (xa, ya), (xb, yb) = table(a.rows, a.features, 1, weights), table(a.rows, a.features, 2, weights)
    shared = dict(learning_rate=0.05, random_state=1)
    light = dict(
        n_estimators=150, num_leaves=15, max_depth=12, min_child_samples=40, reg_lambda=10, max_bin=63, subsample=0.7,
        subsample_freq=1, colsample_bytree=0.25, n_jobs=THREADS, verbose=-1, **shared,
    )
    # scikit-learn has no share of rows, and draws its share of features at each split instead of each tree.
    sk = dict(
        max_iter=150, max_leaf_nodes=15, max_depth=12, min_samples_leaf=40, l2_regularization=10, max_bins=63,
        max_features=0.25, early_stopping=False, **shared,
    )
    results = {
        "scikit-learn HistGradientBoosting": measured(
            lambda: HistGradientBoostingClassifier(**sk).fit(xa, ya), lambda m: m.predict_proba(xb)[:, 1], a.repeats
        ),
        "LightGBM": measured(
            lambda: lgb.LGBMClassifier(**light).fit(xa, ya), lambda m: m.booster_.predict(xb, num_threads=THREADS), a.repeats
        ),
    }
    with tempfile.TemporaryDirectory() as d:
        write(f"{d}/a.parquet", xa, ya)
        write(f"{d}/b.parquet", xb, yb)
        out = subprocess.run(
            [a.binary, f"{d}/a.parquet", f"{d}/b.parquet", str(a.repeats), f"{d}/p.parquet"],
            env=os.environ | {"RAYON_NUM_THREADS": str(THREADS)}, check=True, capture_output=True, text=True,
        ).stdout
        ours = [json.loads(line) for line in out.splitlines()]
        results["foreshock"] = ours, pq.read_table(f"{d}/p.parquet")["probability"].to_numpy()
    print(f"{a.rows} rows, {a.features} features, {100 * ya.mean():.1f} % positive, {THREADS} threads, median of {a.repeats}\n")
    print("| | fit, CPU s | fit, s | predict, CPU s | predict, s | PR-AUC |\n|---|---|---|---|---|---|")
    for name, (runs, p) in results.items():
        cells = [f"{np.median([r[k] for r in runs]):.3f}" for k in ("fit_cpu", "fit_wall", "predict_cpu", "predict_wall")]
        print(f"| {name} | {' | '.join(cells)} | {average_precision_score(yb, p):.4f} |")


if __name__ == "__main__":
    main()
