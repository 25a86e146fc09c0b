"""Ask Med-R1 questions about the studies a PACS sends. Research use only, never for clinical
decisions.

The flow, one line a module:

    listener      receive    associations, C-ECHO, C-STORE
    storage       store      durable instance files; the only place where a path is built
    completion    complete   which studies nothing is sent to any more
    routing       route      DICOM attributes -> Med-R1 modality and anatomy, or why none
    selection     select     which frames stand for a series, and why the others do not
    decoding      render     encoded frames -> arrays, in guarded children
    rendering     render     stored values -> the picture that reader and model see
    questions     ask        the question bank: YAML, conditions, truths
    prompts       ask        the text of a prompt
    workers       answer     Celery, checkpoints, engines
    answers       answer     a generation -> reasoning and choice, or why not
    web           review     pages and API

`steps` joins them, one function a verb; `db` keeps what they make; `records` passes between them.
"""
