"""Any table that a user brings gives the right skills and weights, or one line with the place."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxecon.core.errors import UserError
from jaxecon.economy.microdata import read_microdata

RIGHT = [1000.5, 2000.25], [1.5, 99.0]
COMMAS = "skill,weight\n1000.5,1.5\n2000.25,99\n"

SAME = {
    "plain": COMMAS,
    "blanks in the header": COMMAS.replace("skill,weight", " skill , weight "),
    "capitals": COMMAS.replace("skill,weight", "Skill,WEIGHT"),
    "mark": "\ufeff" + COMMAS,
    "quotes": '"skill","weight"\n"1000.5","1.5"\n"2000.25","99"\n',
    "quotes after a blank": COMMAS.replace("skill,weight", '"skill", "weight"'),
    "blanks": COMMAS.replace(",", " ,  "),
    "blank lines": "\n\n" + COMMAS.replace("\n", "\n\n"),
    "windows": COMMAS.replace("\n", "\r\n"),
    "no last line break": COMMAS.strip(),
    "semicolons": COMMAS.replace(",", ";"),
    "tabs": COMMAS.replace(",", "\t"),
    "bars": COMMAS.replace(",", "|"),
    "decimal commas": COMMAS.replace(",", ";").replace(".", ","),
    "decimal commas and tabs": COMMAS.replace(",", "\t").replace(".", ","),
    "exponents": "skill,weight\n1.0005e3,15e-1\n2.00025E+3,9.9e1\n",
    "other columns": 'name,skill,n,weight\n"a,\nb",1000.5,x,1.5\nc,2000.25,,99\n',
    "order": "weight,skill\n1.5,1000.5\n99,2000.25\n",
    "income": "income,weight\n40020,1.5\n80010,99\n",
    "a skill beside an income": "income,skill,weight\n1,1000.5,1.5\n1,2000.25,99\n",
    "many columns": ",".join(f"c{i}" for i in range(5000))
    + ",skill,weight\n"
    + "1," * 5000
    + "1000.5,1.5\n"
    + "1," * 5000
    + "2000.25,99\n",
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "gzip", "utf-32"])
@pytest.mark.parametrize("name", SAME)
def test_the_same_numbers_from_every_form(tmp_path, name, encoding):
    text = SAME[name]
    path = tmp_path / "people"  # the content says what a file is, not its name
    if encoding == "gzip":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_bytes(text.lstrip("\ufeff" * (encoding != "utf-8")).encode(encoding))
    for got, right in zip(read_microdata(path), RIGHT, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-12)


@pytest.mark.parametrize(
    "columns",
    [
        {" Skill": [1000.5, 2000.25], "WEIGHT ": [1.5, 99.0]},
        {"skill": ["1000.5", " 2000.25"], "weight": pa.array([1.5, 99.0], pa.float32())},
        {"skill": pa.array(["1000.5", "2000.25"]).dictionary_encode(), "weight": [1.5, 99.0]},
        {"income": [40020, 80010], "weight": [1.5, 99.0], "name": ["a", "b"]},
    ],
)
def test_parquet_files(tmp_path, columns):
    path = tmp_path / "people.csv"
    pq.write_table(pa.table(columns), path)
    for got, right in zip(read_microdata(path), RIGHT, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-6)


def test_without_weights_all_count_the_same(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text("skill,height\n1,2\n3,4\n")
    np.testing.assert_array_equal(read_microdata(path), [[1, 3], [1, 1]])


WRONG = {
    "skill,wgt\n1,2\n": "column 'wgt' looks like weights and is not read",
    "skill,Weights\n1,2\n": "column 'Weights' looks like weights",
    "skill,PERWT\n1,2\n": "column 'PERWT' looks like weights",
    "skill,survey_weight\n1,2\n": "column 'survey_weight' looks like weights",
    "skill,s006\n1,2\n": "column 's006' looks like weights",
    **{
        f"skill,{name}\n1,2\n": f"column '{name}' looks like weights"
        for name in (
            *("WTSUPP", "WTFINL", "PSPWGHT", "asecwth", "wt_final", "final_wt_2", "wtper", "wght"),
            *("pond", "ponderation", "poids_final", "gewichtung", "fexp", "factor_expansion", "pw"),
            *("hochrechnungsfaktor", "hhw", "sample_w", "вес"),
        )
    },
    "skill,weight,Weight\n1,2,3\n": "column weight is given 2 times",
    "skill, skill\n1,2\n": "column skill is given 2 times",
    "wage\n5\n": "1 column wage; needs skill",
    "1000,1\n2000,99\n": "2 columns 1000, 1; needs skill",
    "skill,weight\n1,2\n3\n": "line 3: 1 cells for 2 columns",
    "skill,weight\n\n1,2\n3,4,5\n": "line 4: 3 cells for 2 columns",
    "skill,weight\n1,2\n,4\n": "column skill, line 3: ''; a number is needed",
    "skill,weight\n1,2\n3,\n": "column weight, line 3: ''",
    "skill\n1\nNA\n": "column skill, line 3: 'NA'",
    "skill\n1\n\n\n-2\n": "column skill, line 5: -2; must be finite and above 0",
    "skill\ninf\n": "column skill, line 2: inf",
    "skill\n1\nnan\n": "column skill, line 3: nan",
    'skill\n"1,200"\n': "column skill, line 2: '1,200'; a number is needed; without separators",
    "skill;weight\n1,200;1\n2,300;1\n": "column skill, line 2: '1,200'; a number is needed",
    "skill;weight\n1.200,5;1\n": "column skill, line 2: '1.200,5'",
    "skill\n$5\n": "column skill, line 2: '$5'",
    "skill\n1_000\n": "column skill, line 2: '1_000'",
    "skill\n0x1F\n": "column skill, line 2: '0x1F'",
    "skill\n" + "1\n" * 5000 + "x\n": "column skill, line 5002: 'x'",
    'name,skill\n"a\nb",1\nc,x\n': "column skill, line 4: 'x'",
    "skill\n": "holds no rows",
    "": "holds no rows",
    "\n\n": "holds no rows",
    ",".join(f"c{i}" for i in range(5000)) + "\n1\n": "5,000 columns c0, c1",
    "skill\n" + "y" * 5000 + "\n": "column skill, line 2: 'yyy",
    "x" * 1_000_001: "its first line is longer than 1,000,000 characters",
    b"skill\n\xff\xfe\n": "is not text in UTF-8 or UTF-16",
    b"skill\n1\0\n": "is not text: it holds null characters",
    b"PK\x03\x04...": "is a zip or Excel file",
    b"\x1f\x8bbroken": "cannot be read",
    gzip.compress(COMMAS.encode())[:-12]: "cannot be read",
    b"PAR1broken": "cannot be read",
}


@pytest.mark.parametrize("content", WRONG, ids=range(len(WRONG)))
def test_a_wrong_table_gets_one_line_with_its_place(tmp_path, content):
    path = tmp_path / "people.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        read_microdata(path)
    said = str(caught.value)
    assert said.startswith(f"population.file: {path}: {WRONG[content]}")
    assert "\n" not in said
    assert len(said) < len(str(path)) + 400


@pytest.mark.parametrize("name", ["x" * 300, "no.csv", "", ".", "a\0b"])
def test_what_is_no_file_gets_one_line(tmp_path, name):
    with pytest.raises(UserError, match=r"population\.file: "):
        read_microdata(tmp_path / name)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([True, False], "column skill: holds bool; numbers are needed"),
        ([[1.0], [2.0]], "column skill: holds list<"),
        ([1.0, None], "column skill, row 2: nan"),
        (["1", "x"], "column skill, row 2: 'x'"),
    ],
)
def test_wrong_parquet_columns(tmp_path, column, message):
    pq.write_table(pa.table({"skill": column}), tmp_path / "people.parquet")
    with pytest.raises(UserError, match=message):
        read_microdata(tmp_path / "people.parquet")


CELLS = st.text(',;"\t.0123456789eE+-x \n', max_size=6)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(CELLS, max_size=3), max_size=4), st.sampled_from(",;\t"), st.binary())
def test_any_table_is_numbers_or_one_line(tmp_path_factory, rows, delimiter, rest):
    path = tmp_path_factory.mktemp("table") / "people.csv"
    lines = [f"skill{delimiter}weight", *(delimiter.join(row) for row in rows)]
    for content in ("\n".join(lines).encode(), "\n".join(lines).encode() + rest, rest):
        path.write_bytes(content)
        try:
            skill, weight = read_microdata(path)
        except UserError as error:
            assert "\n" not in str(error).replace(repr("\n"), "")  # noqa: PT017
        else:
            assert np.all(skill > 0)
            assert np.all(weight > 0)
