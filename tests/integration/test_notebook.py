"""The notebook of the documents, from its first cell to its last one, on servers of its own."""

import importlib.util
import shutil
from pathlib import Path

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebook.py"


def test_every_cell_of_the_notebook_runs_and_draws(make_reachable_folder, monkeypatch):
    folder = make_reachable_folder()
    monkeypatch.setenv("TICKSTOCK_DATA_DIR", str(folder))
    spec = importlib.util.spec_from_file_location("notebook", NOTEBOOK)
    notebook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(notebook)
    _, made = notebook.app.run()
    try:
        # 390 minutes of the regular hours; the pattern that is listed is on the picture.
        assert made["bars"].height == 390 / 5
        prices, _ = made["candles"].axes
        assert {text for label in prices.texts for text in label.get_text().split("\n")} <= {
            *made["patterns"]["pattern"]
        }
        assert made["patterns"].height > 0
        assert made["tested"].trades.height > 0
        assert len(made["account"].axes[0].lines) == 3
    finally:
        made["use"].close()
        shutil.rmtree(folder)
