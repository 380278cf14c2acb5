"""The notebook of the documentation runs in a real kernel, and its answers stand in it."""

import pytest
from docs_pages import ROOT

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")


@pytest.mark.filterwarnings("ignore")  # of the kernel's own libraries
def test_the_notebook_runs_in_a_kernel(tmp_path):
    notebook = nbformat.read(ROOT / "docs" / "tables.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = ["".join(str(output.get("data", {}).get("text/plain", "")) for output in cell.outputs) for cell in cells]
    assert "simulated answer" in shown[1]
    assert "text" in shown[2]
    assert "score" in shown[3]
    assert shown[4].startswith("(2,")
