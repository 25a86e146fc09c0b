"""Ask Med-R1 questions about the studies a PACS sends. Research use only, never for clinical
decisions.

The flow, one line a module:

    listener      receive    associations, C-ECHO, C-STORE
    storage       store      durable files; the only place where a path is built
    headers       store      what the header of a received instance says
    completion    complete   which studies nothing is sent to any more
    routing       route      DICOM attributes -> Med-R1 modality and anatomy, or why none
    selection     select     which frames stand for a series, and why the others do not
    decoding      render     encoded frames -> arrays, in guarded children
    rendering     render     stored values -> the picture that reader and model see
    questions     ask        the question bank: YAML, conditions, truths
    asking        ask        what is asked about a study, and why the rest is not
    prompts       ask        the text of a prompt
    (workers)     answer     Celery and engines: an import root of its own, beside this one
    answers       answer     a generation -> reasoning and choice, or why not
    waiting       review     why a study is where it is, in a sentence
    reviews       review     who reads which case, what they may see and say, what came out
    statistics    review     how often answers are right and readers agree, with intervals
    web           review     where studies are, what was answered, and the reading page
    filters       export     which answers are meant, in a URL, a command and a snapshot
    disclosure    export     what research is shown of dates and ages
    exports       export     the formats of files
    audit         review     what is hashed and signed, and proven of it
    verifier      review     whether an export is what was signed; the `verify.py` in each

`steps` joins them, one function a verb; `db` keeps what they make; `records` passes between them.
`docs/architecture.md` follows an instance and a question through the code.
"""
