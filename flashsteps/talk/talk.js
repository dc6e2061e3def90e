// What plays a chapter when one comes to it from before, and shows how it ends when one comes back to it.
(() => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  const stands = () => calm.matches || Reveal.isSpeakerNotes() || Reveal.isPrintView();

  function play(slide) {
    const video = slide.querySelector("video");
    if (!video || stands()) return;
    slide.classList.add("playing");
    video.currentTime = 0;
    video.play().catch(() => end(slide)); // a browser that plays nothing shows the end
  }

  function end(slide) {
    slide.classList.remove("playing");
    slide.querySelector("video")?.pause();
  }

  function turn({ previousSlide, currentSlide }) {
    if (previousSlide) end(previousSlide);
    const back = previousSlide && currentSlide.compareDocumentPosition(previousSlide) & Node.DOCUMENT_POSITION_FOLLOWING;
    if (!back) play(currentSlide);
  }

  const reveal = document.querySelector(".reveal");
  Reveal.on("slidechanged", turn);
  calm.addEventListener("change", () => end(Reveal.getCurrentSlide()));
  reveal.querySelector(".slides").addEventListener("click", (event) => {
    if (!event.defaultPrevented && !event.target.closest("a") && !Reveal.isOverview() && !Reveal.isPrintView()) Reveal.next();
  });
  Reveal.initialize({
    ...SIZE, margin: 0, minScale: 0.1, maxScale: 4, center: false, hash: true, controls: false, slideNumber: "c/t", navigationMode: "linear",
    transition: "none", backgroundTransition: "none", autoPlayMedia: false, pdfSeparateFragments: false, plugins: [RevealNotes],
  }).then(() => {
    Reveal.addKeyBinding({ keyCode: 82, key: "R", description: "Play the chapter again" }, () => play(Reveal.getCurrentSlide()));
    turn({ currentSlide: Reveal.getCurrentSlide() });
    window.flashsteps = { reveal: Reveal };
  });
})();
