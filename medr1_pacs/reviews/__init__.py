"""review: which cases are read by whom, and what a reader may see and say of one; pure.

protocols.py      a reading protocol, as it is stored and hashed
protocol_rules.py a file -> a reading protocol, or all that is wrong with it
protocol_text.py  a protocol -> the file that it could have come from, and one to begin with
study_answers.py  answers about pictures -> the model's answer about a study
planning.py       candidates -> cases and planned reads
conflicts.py      who may not read a protocol's studies, and who may have seen them
order.py          the order in which a reader meets the cases, and which comes next
phases.py         what a reader knows in which phase, and what follows it
judgements.py     what a reader may lock
letters.py        the model's letters -> texts of options

    cases with all that was said of them -> what counts -> figures, tables, files

readings.py       what counts: one reader, case and condition
figures.py        a number with all that it takes to judge it
rightness.py      accuracy, sensitivity, specificity
curves.py         ROC curves and their areas
agreeing.py       agreement, confusion matrices, repeats
changes.py        what readers changed once they saw the model
times.py          how long they took
notes.py          what is said beside figures of a crossover, and of adjudications
checkpoints.py    which checkpoints the model is
results.py        all of these, question by question
long_rows.py      a line a reader, case, phase and version
wide_rows.py      a line a case
codebook.py       what every column is
multi_reader.py   scores for programs of multi-reader multi-case studies
"""
