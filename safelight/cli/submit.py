"""``safelight submit``: hand in a job, watch it, and fetch its pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from safelight.cli import output, parsing
from safelight.cli.remote import Remote, talks_to_api

if TYPE_CHECKING:
    from safelight.client import Client, Job, JobOptions

Text = str | None
_PARAMS = "Params"

Prompt = Annotated[Text, typer.Argument(help="What to draw.", show_default=False)]
Task = Annotated[Text, typer.Option("--task", "-t", help="`safelight tasks` lists them; guessed if absent.")]
Checkpoint = Annotated[Text, typer.Option("--checkpoint", "-c", help="A name of `safelight checkpoints ls`.")]
ClassLabel = Annotated[Text, typer.Option("--class", help="Name or index of a class.", rich_help_panel=_PARAMS)]
Size = Annotated[Text, typer.Option("--size", help="64x64, or 64 for a square.", rich_help_panel=_PARAMS)]
Steps = Annotated[int | None, typer.Option("--steps", help="Denoising steps.", rich_help_panel=_PARAMS)]
Guidance = Annotated[float | None, typer.Option("--guidance", help="Guidance scale.", rich_help_panel=_PARAMS)]
Seed = Annotated[int | None, typer.Option("--seed", help="Same seed, same pictures.", rich_help_panel=_PARAMS)]
Number = Annotated[int | None, typer.Option("-n", "--number", help="How many pictures.", rich_help_panel=_PARAMS)]
Negative = Annotated[Text, typer.Option("--negative", help="What to keep away from.", rich_help_panel=_PARAMS)]
Scheduler = Annotated[Text, typer.Option("--scheduler", help="ddim, euler, unipc, …", rich_help_panel=_PARAMS)]
Param = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", metavar="NAME=VALUE", help="Any other; JSON or text.", rich_help_panel=_PARAMS),
]
Image = Annotated[
    Text, typer.Option("--image", "-i", metavar="FILE", help="What it starts from.", rich_help_panel=_PARAMS)
]
Input = Annotated[
    list[str] | None,
    typer.Option(
        "--input",
        metavar="NAME=SOURCE",
        help="Another input, e.g. mask=mask.png; SOURCE is a file, job:ID, artifact:ID or upload:ID.",
        rich_help_panel=_PARAMS,
    ),
]
Then = Annotated[
    list[str] | None,
    typer.Option("--then", metavar="'TASK NAME=VALUE …'", help="What becomes of the output: 'upscale scale=4'."),
]
EmbedPrompt = Annotated[bool, typer.Option("--embed-prompt", help="Write the prompt into the files.")]
Priority = Annotated[int | None, typer.Option("--priority", help="Higher goes first within a lane.")]
Bulk = Annotated[bool, typer.Option("--bulk", help="Behind all interactive work.")]
Tag = Annotated[Text, typer.Option("--tag", help="A word of yours, to find the job again.")]
Deadline = Annotated[Text, typer.Option("--deadline", help="Expire when not started by then: 90s, 15m, 2h.")]
Reproducible = Annotated[bool, typer.Option("--reproducible", help="Run alone: the same last bits each time.")]
Webhook = Annotated[Text, typer.Option("--webhook", metavar="URL", help="Tell of this job there, when it has ended.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Stay until it has ended.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Fetch the pictures to a folder or file.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and price it; queue nothing.")]


@talks_to_api
def submit(
    remote: Remote,
    prompt: Prompt = None,
    *,
    task: Task = None,
    checkpoint: Checkpoint = None,
    class_label: ClassLabel = None,
    size: Size = None,
    steps: Steps = None,
    guidance: Guidance = None,
    seed: Seed = None,
    number: Number = None,
    negative: Negative = None,
    scheduler: Scheduler = None,
    image: Image = None,
    inputs: Input = None,
    param: Param = None,
    then: Then = None,
    embed_prompt: EmbedPrompt = False,
    priority: Priority = None,
    bulk: Bulk = False,
    tag: Tag = None,
    deadline: Deadline = None,
    reproducible: Reproducible = False,
    webhook: Webhook = None,
    wait: Wait = True,
    to: Output = None,
    dry_run: DryRun = False,
) -> None:
    """Submit a job, watch it, and fetch its pictures.

    Exits with 0 when it succeeded (or, with --no-wait, was queued), 1 when it failed or was refused, 3 when the API
    cannot be reached.  Ctrl-C leaves the job running.
    """
    if to is not None and not wait:
        raise typer.BadParameter("--output needs the pictures, and --no-wait does not wait for them.")
    options = _options(
        checkpoint=checkpoint,
        priority=priority,
        lane="bulk" if bulk else None,
        tag=tag,
        deadline_seconds=parsing.seconds(deadline) if deadline else None,
        reproducible=reproducible or None,
        webhook=webhook,
        embed_prompt=embed_prompt or None,
        then=[parsing.step(text) for text in then or []] or None,
    )
    params = _given(
        prompt=prompt,
        class_label=parsing.label(class_label) if class_label is not None else None,
        **(parsing.size(size) if size else {}),
        num_inference_steps=steps,
        guidance_scale=guidance,
        seed=seed,
        num_images=number,
        negative_prompt=negative,
        scheduler=scheduler,
    )
    params |= parsing.params(param or []) | parsing.inputs([*([f"image={image}"] if image else []), *(inputs or [])])
    task = _task(task, params)
    with remote.connect() as client:
        if dry_run:
            _show_price(remote, client.dry_run(task, params, **options))
            return
        follow(remote, client, client.submit(task, params, **options), wait=wait, to=to)


def follow(remote: Remote, client: "Client", job: "Job", *, wait: bool, to: Path | None = None) -> None:
    """What comes after a submit: the job's id, or its end and its pictures.  Exits with 1 when it failed."""
    from safelight.cli import views
    from safelight.cli.progress import JobProgress, goes_on

    if not wait:
        if remote.as_json:
            output.print_json(job.raw)
        else:
            typer.echo(job.id)
            typer.echo(f"  safelight watch {job.id}", err=True)
        return
    with goes_on(job.id):
        with JobProgress(views.title(job), show=not remote.as_json) as progress:
            progress(job)
            job = client.wait(job, on_progress=progress)
        paths = client.download(job, to) if to is not None and job.succeeded else []
    if remote.as_json:
        output.print_json({**job.raw, **({"files": [str(path) for path in paths]} if to else {})})
    elif job.succeeded:
        views.print_result(job, paths)
    else:
        views.print_failure(job)
    if not job.succeeded:
        raise typer.Exit(output.FAILED)


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _options(**values: Any) -> "JobOptions":
    return cast("JobOptions", _given(**values))


def _task(task: str | None, params: dict[str, Any]) -> str:
    found = task or _guessed(params)
    if found == "text_to_image" and not {"prompt", "prompt_from"} & params.keys():
        raise typer.BadParameter('text_to_image needs a prompt: safelight submit "a cat"', param_hint="PROMPT")
    if found == "class_to_image" and "class_label" not in params:
        raise typer.BadParameter("class_to_image needs a class: --class cat", param_hint="--class")
    return found


def _guessed(params: dict[str, Any]) -> str:
    """What is meant without a word: a class alone, a picture with a prompt, or a prompt."""
    if "image" in params and "prompt" not in params:
        raise typer.BadParameter("What shall become of the picture? Say it: --task upscale", param_hint="--task")
    if "image" in params:
        return "inpaint" if {"mask", "mask_shapes", "mask_automatic"} & params.keys() else "image_to_image"
    return "class_to_image" if "class_label" in params and "prompt" not in params else "text_to_image"


def _show_price(remote: Remote, price: dict[str, Any]) -> None:
    if remote.as_json:
        output.print_json(price)
        return
    from safelight.cli import views

    views.print_pairs(price)
